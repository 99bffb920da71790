{{/*
Extension points: what values add to the pods and objects of a chart, one template each. Values that a chart has not add nothing.
Labels of Beacon's own cannot be replaced: the schemas refuse them, as selectors and network policies go by them.
*/}}

{{/* Labels of every object and pod. */}}
{{- define "beacon.commonLabels" -}}
{{- range $name, $value := .root.Values.commonLabels }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* Labels of pods alone. */}}
{{- define "beacon.podLabels" -}}
{{- range $name, $value := .root.Values.podLabels }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* The service account of the chart's pods; empty: the namespace's default one. `early`: the pod comes before what the chart makes. */}}
{{- define "beacon.serviceAccountName" -}}
{{- with .root.Values.serviceAccount -}}
{{- if not (and $.early .create) -}}
{{ .name | default (ternary (printf "%s-%s" (include "beacon.installation" $.root) $.root.Chart.Name) "" .create) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The service account itself, where the chart makes one. Its token is mounted only in pods that ask the Kubernetes API. */}}
{{- define "beacon.serviceAccount" -}}
{{- with .root.Values.serviceAccount -}}
{{- if .create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "beacon.serviceAccountName" $ }}
  namespace: {{ $.root.Release.Namespace }}
  labels: {{- include "beacon.labels" (dict "root" $.root "name" $.root.Chart.Name) | nindent 4 }}
  {{- with .annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The security context of a pod: hardened, with the image's own user unless the cluster chooses one, and as the values change it. */}}
{{- define "beacon.podSecurityContext" -}}
{{- $context := dict "runAsNonRoot" true "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- if ne (toString .root.Values.fixedUser) "false" -}}
{{- $uid := .uid | default 10001 -}}
{{- $context = merge $context (dict "runAsUser" $uid "runAsGroup" $uid "fsGroup" $uid) -}}
{{- end -}}
{{- toYaml (mergeOverwrite $context (deepCopy (.root.Values.podSecurityContext | default dict))) -}}
{{- end -}}

{{/* The same of a container. */}}
{{- define "beacon.containerSecurityContext" -}}
{{- $context := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- toYaml (mergeOverwrite $context (deepCopy (.root.Values.containerSecurityContext | default dict))) -}}
{{- end -}}

{{/* A container of the chart's own: its variables (the last of a name wins), mounts, security context and requests. */}}
{{- define "beacon.extendContainer" -}}
{{- $values := .root.Values -}}
{{- $container := .container -}}
{{- $_ := set $container "securityContext" (include "beacon.containerSecurityContext" . | fromYaml) -}}
{{- with $values.envFrom -}}
{{- $_ := set $container "envFrom" (concat ($container.envFrom | default list) .) -}}
{{- end -}}
{{- with $values.extraEnv -}}
{{- $names := list -}}
{{- range . -}}{{- $names = append $names .name -}}{{- end -}}
{{- $kept := list -}}
{{- range $container.env -}}{{- if not (has .name $names) -}}{{- $kept = append $kept . -}}{{- end -}}{{- end -}}
{{- $_ := set $container "env" (concat $kept .) -}}
{{- end -}}
{{- with $values.extraVolumeMounts -}}
{{- $_ := set $container "volumeMounts" (concat ($container.volumeMounts | default list) .) -}}
{{- end -}}
{{- with $values.ephemeralStorage -}}
{{- $requests := dict "requests" (dict "ephemeral-storage" .) -}}
{{- $_ := set $container "resources" (merge (dict) ($container.resources | default dict) $requests) -}}
{{- end -}}
{{- end -}}

{{/* Containers of the values, as hardened as the chart's own unless they say otherwise. `given`: them. */}}
{{- define "beacon.extraContainers" -}}
{{- $found := list -}}
{{- range .given -}}
{{- $own := include "beacon.containerSecurityContext" $ | fromYaml -}}
{{- $found = append $found (mergeOverwrite (dict "terminationMessagePolicy" "FallbackToLogsOnError" "securityContext" $own) (deepCopy .)) -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/* How the pods of one Deployment spread: as the values say, each over the pods of its own unless it selects others. */}}
{{- define "beacon.topologySpread" -}}
{{- $found := list -}}
{{- range .root.Values.topologySpreadConstraints -}}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "beacon.selector" $ | fromYaml)) -}}
{{- $found = append $found (ternary (deepCopy .) (merge (deepCopy .) $own) (hasKey . "labelSelector")) -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/* Adds to a pod's spec what the values have for it. Containers of theirs stand beside services; a job's would never end. */}}
{{- define "beacon.extendPod" -}}
{{- $values := .root.Values -}}
{{- $pod := .pod -}}
{{- with $values.extraInitContainers -}}
{{- $extra := include "beacon.extraContainers" (dict "root" $.root "given" .) | fromYamlArray -}}
{{- $_ := set $pod "initContainers" (concat $extra ($pod.initContainers | default list)) -}}
{{- end -}}
{{- if and $values.extraContainers (ne ($pod.restartPolicy | default "Always") "Never") -}}
{{- $extra := include "beacon.extraContainers" (dict "root" .root "given" $values.extraContainers) | fromYamlArray -}}
{{- $_ := set $pod "containers" (concat $pod.containers $extra) -}}
{{- end -}}
{{- with $values.extraVolumes -}}
{{- $_ := set $pod "volumes" (concat ($pod.volumes | default list) .) -}}
{{- end -}}
{{- with include "beacon.topologySpread" . | fromYamlArray -}}
{{- $_ := set $pod "topologySpreadConstraints" . -}}
{{- end -}}
{{- end -}}

{{/* What a Service of clients is: its type and what clouds read of its annotations. */}}
{{- define "beacon.serviceType" -}}
{{- with .root.Values.service -}}
type: {{ .type }}
{{- if eq .type "LoadBalancer" }}
{{- with .loadBalancerClass }}
loadBalancerClass: {{ . }}
{{- end }}
{{- with .loadBalancerSourceRanges }}
loadBalancerSourceRanges: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}
