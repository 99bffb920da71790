{{/*
Who scales a Deployment, and by what: CPU, requests per second or requests in flight, each per pod; the largest number of pods that
one of them asks for is taken. `hpa`: a HorizontalPodAutoscaler, which finds the requests in the API of custom metrics; `keda`: a
ScaledObject of KEDA, which asks Prometheus.
*/}}
{{- define "beacon.autoscaler" -}}
{{- $scaling := .root.Values.autoscaling -}}
{{- if not (or $scaling.cpuPercent $scaling.requestsPerSecond $scaling.requestsInFlight) -}}
{{- fail "autoscaling: set cpuPercent, requestsPerSecond or requestsInFlight" -}}
{{- end -}}
{{- if eq $scaling.by "keda" -}}
{{ include "beacon.scaledObject" . }}
{{- else -}}
{{ include "beacon.horizontal" . }}
{{- end -}}
{{- end -}}

{{- define "beacon.scalingBehavior" -}}
{{- $own := dict "scaleUp" (dict "stabilizationWindowSeconds" (int .upSeconds)) "scaleDown" (dict "stabilizationWindowSeconds" (int .downSeconds)) -}}
{{- mergeOverwrite $own (deepCopy .behavior) | toYaml -}}
{{- end -}}

{{- define "beacon.horizontal" -}}
{{- $scaling := .root.Values.autoscaling -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{- include "beacon.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "beacon.fullname" . }}}
  minReplicas: {{ $scaling.min }}
  maxReplicas: {{ $scaling.max }}
  metrics:
    {{- with $scaling.cpuPercent }}
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ . }}}}
    {{- end }}
    {{- with $scaling.requestsPerSecond }}
    - type: Pods
      pods: {metric: {name: http_requests_per_second}, target: {type: AverageValue, averageValue: {{ . | quote }}}}
    {{- end }}
    {{- with $scaling.requestsInFlight }}
    - type: Pods
      pods: {metric: {name: http_requests_in_flight}, target: {type: AverageValue, averageValue: {{ . | quote }}}}
    {{- end }}
  behavior: {{- include "beacon.scalingBehavior" $scaling | nindent 4 }}
{{- end -}}

{{/* The pods of this installation, as Beacon's Prometheus and the operator's ServiceMonitors label them, and requests of clients alone. */}}
{{- define "beacon.scalingSeries" -}}
{installation="{{ include "beacon.installation" .root }}",job=~"(.*-)?{{ .name }}(-pods)?",endpoint!~"/(livez|readyz|health|metrics)"}
{{- end -}}

{{- define "beacon.scaledObject" -}}
{{- $scaling := .root.Values.autoscaling -}}
{{- $series := include "beacon.scalingSeries" . -}}
{{- $asked := dict -}}
{{- with $scaling.requestsPerSecond -}}
{{- $_ := set $asked (printf "sum(rate(http_requests_total%s[1m]))" $series) . -}}
{{- end -}}
{{- with $scaling.requestsInFlight -}}
{{- /* Seconds of answering in each second: how many requests are in flight on average. */ -}}
{{- $_ := set $asked (printf "sum(rate(http_request_duration_seconds_sum%s[1m]))" $series) . -}}
{{- end -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{- include "beacon.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {name: {{ include "beacon.fullname" . }}}
  minReplicaCount: {{ $scaling.min }}
  maxReplicaCount: {{ $scaling.max }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {{- include "beacon.scalingBehavior" $scaling | nindent 8 }}
  triggers:
    {{- with $scaling.cpuPercent }}
    - {type: cpu, metricType: Utilization, metadata: {value: {{ . | quote }}}}
    {{- end }}
    {{- range $query, $most := $asked }}
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: {{ $scaling.prometheus.url }}
        query: {{ $query | quote }}
        threshold: {{ $most | quote }}
      {{- with $scaling.prometheus.authentication }}
      authenticationRef: {name: {{ . }}}
      {{- end }}
    {{- end }}
{{- end -}}
