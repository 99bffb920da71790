{{/* Whether the admission policies are installed: "true", or nothing. */}}
{{- define "promotion.guarded" -}}
{{- $said := toString .Values.admissionPolicy.enabled -}}
{{- $known := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" -}}
{{- if or (eq $said "true") (and (eq $said "auto") $known) }}true{{ end -}}
{{- end -}}

{{/* What both policies say of themselves, and whom they hold. */}}
{{- define "promotion.policyMetadata" -}}
name: {{ .root.Release.Namespace }}-{{ .suffix }}
labels: {{- include "beacon.labels" (dict "root" .root "name" "promotion") | nindent 2 }}
{{- end -}}

{{- define "promotion.isPromotion" -}}
- {name: promotion, expression: request.userInfo.username == {{ printf "system:serviceaccount:%s:beacon-promotion" .Release.Namespace | squote }}}
{{- end -}}

{{/* The repository of inference's image: beside promotion's own, unless the values name it. */}}
{{- define "promotion.inferenceImage" -}}
{{- $found := .Values.inference.image | default (regexReplaceAll "promotion$" .Values.image.repository "inference") -}}
{{- if eq $found .Values.image.repository }}{{ fail "inference.image: the repository of inference's image, which the admission policies allow" }}{{ end -}}
{{- $found -}}
{{- end -}}

{{/* The repository of the prediction log's image, in the same way. */}}
{{- define "promotion.logImage" -}}
{{- $found := .Values.inference.logImage | default (regexReplaceAll "inference$" (include "promotion.inferenceImage" .) "prediction-log") -}}
{{- if eq $found (include "promotion.inferenceImage" .) }}{{ fail "inference.logImage: the repository of the prediction log's image, which the admission policies allow" }}{{ end -}}
{{- $found -}}
{{- end -}}

{{/* The Secrets that inference has, as a list of CEL: NAME/KEY each. */}}
{{- define "promotion.inferenceSecrets" -}}
{{- $found := list -}}
{{- range .Values.inference.secrets -}}
{{- $found = append $found (printf "%s/%s" .name .key) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* The login of inference to MLflow, in the same form. */}}
{{- define "promotion.inferenceLogin" -}}
{{- with .Values.inference.mlflowLogin -}}
{{- if .name }}{{ list (printf "%s/%s" .name .key) | toJson }}{{ else }}[]{{ end -}}
{{- end -}}
{{- end -}}
