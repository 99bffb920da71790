{{/* Everything here takes one dict: `root` (the chart's $), `name` (the component), and what the template says. */}}

{{/* One name for everything of a component: that of the installation (_installation.tpl), and its own. */}}
{{- define "beacon.fullname" -}}
{{ include "beacon.installation" .root }}-{{ .name }}
{{- end -}}

{{/* Every pod of a component, whichever Deployment made it. Also in immutable fields: nothing here may change with a version. */}}
{{- define "beacon.component" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: {{ include "beacon.installation" .root }}
{{- end -}}

{{/* The pods of one Deployment. `track`: it is not the component's main one. */}}
{{- define "beacon.selector" -}}
{{ include "beacon.component" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}{{ with .track }}-{{ . }}{{ end }}
{{- end -}}

{{- define "beacon.labels" -}}
{{ include "beacon.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- include "beacon.commonLabels" . }}
{{- end -}}

{{- define "beacon.metadata" -}}
name: {{ include "beacon.fullname" . }}{{ with .suffix | default .track }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "beacon.labels" . | nindent 2 }}
{{- end -}}

{{/* The port on which clients reach each component: the arrows of the drawing end here. */}}
{{- define "beacon.ports" -}}
inference: 8080
inference-metrics: 9090
prediction-log-metrics: 9094
kafka-to-lake-metrics: 9095
inference-dark: 8080
inference-dark-metrics: 9090
feature-serving: 6566
feature-serving-metrics: 9091
console: 8090
console-metrics: 9092
mlflow: 5000
postgresql: 5432
redis: 6379
prometheus: 9090
alertmanager: 9093
prober: 9115
{{- end -}}

{{/* What listens in the pods of another component, as a container beside its own. */}}
{{- define "beacon.besides" -}}
prediction-log-metrics: inference
{{- end -}}

{{- define "beacon.port" -}}
{{- index (include "beacon.ports" . | fromYaml) .name -}}
{{- end -}}

{{/* Where an image lies: `global.registry` is before the names of Beacon's own. `root`; `image`: the values. */}}
{{- define "beacon.repository" -}}
{{- $own := hasPrefix "beacon-" .image.repository -}}
{{- ternary ((.root.Values.global | default dict).registry | default "") "" $own }}{{ .image.repository }}
{{- end -}}

{{/* An image by digest if one is given, else by tag: that of the values, `global.tag` or the chart's appVersion. */}}
{{- define "beacon.image" -}}
{{- if .image.digest -}}
{{ include "beacon.repository" . }}@{{ .image.digest }}
{{- else -}}
{{ include "beacon.repository" . }}:{{ .image.tag | default (.root.Values.global | default dict).tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}
