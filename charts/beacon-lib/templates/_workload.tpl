{{/*
A Deployment that loses no request while it rolls: a new pod is ready before an old one goes. `track`: it stands beside the
component's main one, with `replicas` pods; `progressSeconds`: how long its pods may take to get ready. `alone`: no request is lost
without it, and there is never a second pod, which could not have its volume.
*/}}
{{- define "beacon.deployment" -}}
{{- $values := .root.Values -}}
{{- $spread := dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway" "labelSelector" (dict "matchLabels" (include "beacon.selector" . | fromYaml)) -}}
{{- $zones := set (deepCopy $spread) "topologyKey" "topology.kubernetes.io/zone" -}}
{{- $pod := merge .pod (ternary dict (dict "topologySpreadConstraints" (list $spread $zones)) (.alone | default false)) -}}
apiVersion: apps/v1
kind: Deployment
metadata: {{- include "beacon.metadata" . | nindent 2 }}
spec:
  {{- if or .track .alone }}
  replicas: {{ .replicas | default 1 }}
  {{- else if not ($values.autoscaling | default dict).enabled }}
  replicas: {{ .replicas | default $values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  progressDeadlineSeconds: {{ .progressSeconds | default 300 }}
  strategy:
    {{- if .alone }}
    type: Recreate
    {{- else }}
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
    {{- end }}
  selector:
    matchLabels: {{- include "beacon.selector" . | nindent 6 }}
  template: {{- include "beacon.podTemplate" (set . "pod" $pod) | nindent 4 }}
{{- end -}}

{{/* What a Deployment of several pods brings along: its disruption budget and, if asked for, its autoscaler (_scaling.tpl). */}}
{{- define "beacon.scaling" -}}
{{- if (.root.Values.autoscaling | default dict).enabled }}
{{ include "beacon.autoscaler" . }}
---
{{- end }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "beacon.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "beacon.selector" . | nindent 6 }}
{{- end -}}

{{/* `metrics`: the metrics' port, if it is another than the clients'; `apart`: only the pods of one Deployment. */}}
{{- define "beacon.service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "beacon.metadata" . | nindent 2 }}
  {{- $public := and .root.Values.service (not .track) }}
  {{- if $public }}
  {{- with .root.Values.service.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
spec:
  {{- if $public }}
  {{- include "beacon.serviceType" . | nindent 2 }}
  {{- end }}
  selector: {{- include (ternary "beacon.selector" "beacon.component" (.apart | default false)) . | nindent 4 }}
  ports:
    - {name: http, port: {{ include "beacon.port" . }}, targetPort: http}
    {{- if and .metrics (or (not $public) (eq .root.Values.service.type "ClusterIP")) }}
    - {name: metrics, port: {{ .metrics }}, targetPort: metrics}
    {{- end }}
{{- end -}}

{{/*
Every pod by an address of its own, ready or not, for whoever scrapes `metrics`, the port. `selects`: the component whose pods these are,
where the metrics are those of another container in them.
*/}}
{{- define "beacon.pods" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "beacon.fullname" . }}-pods
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "beacon.labels" . | nindent 4 }}
    beacon/scraped: "true"
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {{- include "beacon.component" (dict "root" .root "name" (.selects | default .name)) | nindent 4 }}
  ports: [{name: metrics, port: {{ .metrics }}, targetPort: {{ .metrics }}}]
{{- end -}}

{{/* 75 says that trying again later may help; whatever else fails fails for good. */}}
{{- define "beacon.podFailurePolicy" -}}
rules:
  - action: Ignore
    onPodConditions: [{type: DisruptionTarget, status: "True"}]
  - action: FailJob
    onExitCodes: {operator: In, values: [1, 2, 64, 65]}
{{- end -}}

{{/*
A CronJob of which at most one run is at work, and that gives up in time. `job`: its values (schedule, suspend,
deadlineSeconds, retries, ttlSeconds); `suffix`: after the component's name.
*/}}
{{- define "beacon.cronJob" -}}
{{- $pod := merge (dict "restartPolicy" "Never") .pod -}}
apiVersion: batch/v1
kind: CronJob
metadata: {{- include "beacon.metadata" . | nindent 2 }}
spec:
  schedule: {{ .job.schedule | quote }}
  timeZone: Etc/UTC
  suspend: {{ .job.suspend }}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 3
  jobTemplate:
    metadata:
      labels: {{- include "beacon.labels" . | nindent 8 }}
    spec:
      backoffLimit: {{ .job.retries }}
      activeDeadlineSeconds: {{ .job.deadlineSeconds }}
      ttlSecondsAfterFinished: {{ .job.ttlSeconds }}
      podFailurePolicy: {{- include "beacon.podFailurePolicy" . | nindent 8 }}
      template: {{- include "beacon.podTemplate" (set . "pod" $pod) | nindent 8 }}
{{- end -}}

{{/*
A Job of a chart that is safe to repeat, and no hook: it runs once for each form that its template has, as its name has the
template's digest. So Helm, Argo CD and Flux make it anew where something of it changed. `suffix`: after the component's name;
`retries`, `deadlineSeconds`.
*/}}
{{- define "beacon.job" -}}
{{- $pod := merge (dict "restartPolicy" "Never") .pod -}}
{{- $template := include "beacon.podTemplate" (set . "pod" $pod) -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "beacon.fullname" . }}{{ with .suffix }}-{{ . }}{{ end }}-{{ $template | fromYaml | toJson | sha256sum | trunc 8 }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "beacon.labels" . | nindent 4 }}
spec:
  backoffLimit: {{ .retries | default 6 }}
  activeDeadlineSeconds: {{ .deadlineSeconds }}
  podFailurePolicy: {{- include "beacon.podFailurePolicy" . | nindent 4 }}
  template: {{- $template | nindent 4 }}
{{- end -}}

{{/*
Brings the store to the newest schema, and gives the services' roles their rights; safe to repeat. It alone logs in as the owner
of the tables. A hook, before the chart's own objects change. With `migration.run: job` an installation has no hook, since the
database may come with the same release: there it is a Job beside the others, who try again until there are tables.
*/}}
{{- define "beacon.migration" -}}
{{- $values := .root.Values.migration -}}
{{- $asJob := and (eq $values.run "job") (not .root.Release.IsUpgrade) -}}
{{- $hook := ternary "pre-upgrade" "pre-install,pre-upgrade" (eq $values.run "job") -}}
{{- $container := dict "name" "migrate" "command" (list "python" "jobs/migrate.py" "--wait" (ternary "300" "60" $asJob)) "env" (include "beacon.databaseEnv" (dict "root" .root "login" .root.Values.database.owner) | fromYamlArray) "resources" (dict "requests" (dict "cpu" "50m" "memory" "96Mi") "limits" (dict "memory" "256Mi")) -}}
{{- $pod := dict "restartPolicy" "Never" "containers" (list $container) -}}
{{- $context := merge (dict "pod" $pod "early" (not $asJob) "reaches" (list "postgresql") "name" (printf "%s-migration" .name)) (omit . "product" "reads" "signs" "mlflow" "metrics" "public" "api" "https" "issuer" "suffix" "tmp" "engine") -}}
{{- if eq $values.run "none" }}
{{- else if $asJob }}
{{ include "beacon.networkPolicy" $context }}
---
{{ include "beacon.job" (merge (dict "retries" 12 "deadlineSeconds" $values.deadlineSeconds) $context) }}
{{- else }}
{{ include "beacon.networkPolicy" (merge (dict "hook" $hook) $context) }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "beacon.fullname" $context }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "beacon.labels" $context | nindent 4 }}
  annotations:
    helm.sh/hook: {{ $hook }}
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  backoffLimit: 5
  activeDeadlineSeconds: {{ $values.deadlineSeconds }}
  template: {{- include "beacon.podTemplate" $context | nindent 4 }}
{{- end }}
{{- end -}}

{{/* A pod of `helm test`. `suffix`: what it tests. */}}
{{- define "beacon.test" -}}
{{- $template := include "beacon.podTemplate" (set . "pod" (merge (dict "restartPolicy" "Never") .pod)) | fromYaml -}}
{{ include "beacon.networkPolicy" (merge (dict "hook" "test") .) }}
---
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "beacon.fullname" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- toYaml $template.metadata.labels | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
    {{- with $template.metadata.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec: {{- toYaml $template.spec | nindent 2 }}
{{- end -}}

{{/* One pod with one volume of its own, named data, which stays when the release goes (`keepVolumes`). `values`: storage, storageClass; `pod`. */}}
{{- define "beacon.stateful" -}}
apiVersion: apps/v1
kind: StatefulSet
metadata: {{- include "beacon.metadata" . | nindent 2 }}
spec:
  serviceName: {{ include "beacon.fullname" . }}
  replicas: 1
  persistentVolumeClaimRetentionPolicy: {whenDeleted: {{ ternary "Retain" "Delete" (.root.Values.keepVolumes | default false) }}, whenScaled: Retain}
  selector:
    matchLabels: {{- include "beacon.selector" . | nindent 6 }}
  template: {{- include "beacon.podTemplate" . | nindent 4 }}
  volumeClaimTemplates:
    {{- /* With the API's defaults: Argo CD compares the list as a whole, and would find it changed for ever. */}}
    - apiVersion: v1
      kind: PersistentVolumeClaim
      metadata: {name: data}
      spec:
        {{- include "beacon.claim" .values | nindent 8 }}
        volumeMode: Filesystem
---
{{ include "beacon.service" . }}
---
{{ include "beacon.networkPolicy" . }}
{{- end -}}

{{/* A volume claim's spec, by values with storage, storageClass, accessModes. */}}
{{- define "beacon.claim" -}}
accessModes: {{ .accessModes | default (list "ReadWriteOnce") | toJson }}
{{- with .storageClass }}
storageClassName: {{ . }}
{{- end }}
resources: {requests: {storage: {{ .storage }}}}
{{- end -}}

{{/* A volume claim of its own, which Helm leaves when the release goes (`keepVolumes`). `values`: as of beacon.claim; `suffix`. */}}
{{- define "beacon.ownClaim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "beacon.metadata" . | nindent 2 }}
  {{- if .root.Values.keepVolumes }}
  annotations: {helm.sh/resource-policy: keep}
  {{- end }}
spec: {{- include "beacon.claim" .values | nindent 2 }}
{{- end -}}
