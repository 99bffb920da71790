{{/* Whether the admission policies are installed: "true", or nothing. */}}
{{- define "promotion.guarded" -}}
{{- $said := toString .Values.admissionPolicy.enabled -}}
{{- $known := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" -}}
{{- if or (eq $said "true") (and (eq $said "auto") $known) }}true{{ end -}}
{{- end -}}

{{/* What both policies say of themselves, and whom they hold. */}}
{{- define "promotion.policyMetadata" -}}
name: {{ include "promotion.policyName" . }}
labels: {{- include "beacon.labels" (dict "root" .root "name" "promotion") | nindent 2 }}
{{- end -}}

{{/* Policies are of the whole cluster. A namespace has no dot in its name, so that no two of these are one. */}}
{{- define "promotion.policyName" -}}
{{- $name := include "beacon.installation" .root -}}
{{ .root.Release.Namespace }}{{ ternary "-" "." (eq $name "beacon") }}{{ $name }}-{{ .suffix }}
{{- end -}}

{{- define "promotion.isPromotion" -}}
- {name: promotion, expression: request.userInfo.username == {{ printf "system:serviceaccount:%s:%s" .Release.Namespace (include "promotion.account" .) | squote }}}
{{- end -}}

{{/* The service account of the job, which needs rights of its own. */}}
{{- define "promotion.account" -}}
{{- required "serviceAccount.name: promotion needs a service account" (include "beacon.serviceAccountName" (dict "root" .)) -}}
{{- end -}}

{{/* The repository of inference's image: beside promotion's own, unless the values name it. */}}
{{- define "promotion.inferenceImage" -}}
{{- $own := include "beacon.repository" (dict "root" . "image" .Values.image) -}}
{{- $found := .Values.inferencePods.image | default (regexReplaceAll "promotion$" $own "inference") -}}
{{- if eq $found $own }}{{ fail "inferencePods.image: the repository of inference's image, which the admission policies allow" }}{{ end -}}
{{- $found -}}
{{- end -}}

{{/* The repository of the prediction log's image, in the same way. */}}
{{- define "promotion.logImage" -}}
{{- $found := .Values.inferencePods.logImage | default (regexReplaceAll "inference$" (include "promotion.inferenceImage" .) "prediction-log") -}}
{{- if eq $found (include "promotion.inferenceImage" .) }}{{ fail "inferencePods.logImage: the repository of the prediction log's image, which the admission policies allow" }}{{ end -}}
{{- $found -}}
{{- end -}}

{{/* The Secrets that inference has, as a list of CEL: NAME/KEY each. */}}
{{- define "promotion.inferenceSecrets" -}}
{{- $found := list -}}
{{- range .Values.inferencePods.secrets -}}
{{- $found = append $found (printf "%s/%s" .name .key) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* The containers that inference's values add, as lists of CEL: their names, and each with its image. */}}
{{- define "promotion.addedNames" -}}
{{- $found := list -}}
{{- range .Values.inferencePods.containers -}}{{- $found = append $found .name -}}{{- end -}}
{{- toJson $found | replace "\"" "'" -}}
{{- end -}}

{{- define "promotion.addedImages" -}}
{{- $found := list -}}
{{- range .Values.inferencePods.containers -}}{{- $found = append $found (printf "%s %s" .name .image) -}}{{- end -}}
{{- toJson $found | replace "\"" "'" -}}
{{- end -}}

{{/* The login of inference to MLflow, in the same form. */}}
{{- define "promotion.inferenceLogin" -}}
{{- with .Values.inferencePods.mlflowLogin -}}
{{- if .name }}{{ list (printf "%s/%s" .name .key) | toJson }}{{ else }}[]{{ end -}}
{{- end -}}
{{- end -}}
