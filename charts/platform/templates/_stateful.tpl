{{/* One pod with one volume of its own. `values`: the component's; `mount`: where the volume goes; `pod`. */}}
{{- define "platform.stateful" -}}
apiVersion: apps/v1
kind: StatefulSet
metadata: {{- include "beacon.metadata" . | nindent 2 }}
spec:
  serviceName: {{ include "beacon.fullname" . }}
  replicas: 1
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Retain}
  selector:
    matchLabels: {{- include "beacon.selector" . | nindent 6 }}
  template: {{- include "beacon.podTemplate" . | nindent 4 }}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {{- include "platform.claim" .values | nindent 8 }}
---
{{ include "beacon.service" . }}
---
{{ include "beacon.networkPolicy" . }}
{{- end -}}

{{- define "platform.claim" -}}
accessModes: {{ .accessModes | default (list "ReadWriteOnce") | toJson }}
{{- with .storageClass }}
storageClassName: {{ . }}
{{- end }}
resources: {requests: {storage: {{ .storage }}}}
{{- end -}}
