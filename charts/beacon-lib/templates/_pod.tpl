{{/*
The template of a pod, hardened: not root, a read-only root, no capability, no token unless it asks the Kubernetes API.
`pod`: a pod's spec whose containers need only say what is their own; `reaches`: the components it may open connections
to; `uid`: 10001 unless the image wants another; `api`: its service account's token is mounted; `early`: it runs before the
chart's objects are there; `product`: it reads the product (_product.tpl); `reads`, `signs`, `mlflow`: what it trusts and has
(_trust.tpl); `engine`: a job that Spark may run (_engine.tpl). A container that says `bare: true` has none of that but the CA and the product. What values add is in
_extend.tpl.
*/}}
{{- define "beacon.podTemplate" -}}
{{- $values := .root.Values -}}
{{- include "beacon.onEngine" . -}}
{{- $image := include "beacon.image" (dict "root" .root "image" (.image | default $values.image)) -}}
{{- $policy := (.image | default $values.image).pullPolicy -}}
{{- $product := .product | default false -}}
{{- $annotations := .annotations | default dict -}}
{{- if $product -}}
{{- $text := printf "%s%s" (include "beacon.productSpec" .root) (include "beacon.productPolicy" .root) -}}
{{- $annotations = merge (dict "beacon/product" (sha256sum $text)) $annotations -}}
{{- end -}}
{{- $root := . -}}
{{- $trustEnv := include "beacon.trustEnv" . | fromYamlArray -}}
{{- $trustMounts := include "beacon.trustMounts" . | fromYamlArray -}}
{{- range concat (.pod.initContainers | default list) .pod.containers -}}
{{- $container := . -}}
{{- $_ := set . "image" (.image | default $image) -}}
{{- $_ := set . "imagePullPolicy" $policy -}}
{{- $_ := set . "terminationMessagePolicy" "FallbackToLogsOnError" -}}
{{- $_ := set . "volumeMounts" (append (.volumeMounts | default list) (dict "name" "tmp" "mountPath" "/tmp")) -}}
{{- if .bare -}}
{{- $_ := set . "volumeMounts" (concat .volumeMounts (include "beacon.trustMounts" (dict "root" $root.root) | fromYamlArray)) -}}
{{- else -}}
{{- $_ := set . "volumeMounts" (concat .volumeMounts $trustMounts) -}}
{{- end -}}
{{- with ternary list $trustEnv (.bare | default false) -}}
{{- $_ := set $container "env" (concat . ($container.env | default list)) -}}
{{- end -}}
{{- $_ := unset . "bare" -}}
{{- if $product -}}
{{- $_ := set . "volumeMounts" (append .volumeMounts (include "beacon.productMount" $root | fromYaml)) -}}
{{- $_ := set . "env" (prepend (.env | default list) (include "beacon.productEnv" $root | fromYaml)) -}}
{{- end -}}
{{- include "beacon.extendContainer" (dict "root" $root.root "container" .) -}}
{{- end -}}
{{- include "beacon.extendPod" . -}}
metadata:
  labels:
    {{- include "beacon.labels" . | nindent 4 }}
    {{- include "beacon.podLabels" . | indent 4 }}
    {{- range .reaches }}
    reach.beacon/{{ . }}: "true"
    {{- end }}
  {{- with merge $annotations ($values.podAnnotations | default dict) }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with $values.imagePullSecrets | default ($values.global | default dict).imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "beacon.serviceAccountName" . }}
  serviceAccountName: {{ . }}
  {{- end }}
  automountServiceAccountToken: {{ and (.api | default false) (not (empty (include "beacon.serviceAccountName" .))) }}
  enableServiceLinks: false
  securityContext: {{- include "beacon.podSecurityContext" . | nindent 4 }}
  {{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
  {{- with index $values $key }}
  {{ $key }}: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- omit .pod "volumes" | toYaml | nindent 2 }}
  volumes:
    {{- with .pod.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- if $product }}
    - {{- include "beacon.productVolume" . | nindent 6 }}
    {{- end }}
    {{- include "beacon.trustVolumes" . | nindent 4 }}
    - name: tmp
      emptyDir: {sizeLimit: {{ .tmp | default "256Mi" }}}
{{- end -}}

{{/*
How a container reaches the store: libpq takes the password from PGPASSWORD, or Beacon from a file at each connection, so no URL
holds a secret. `login`: the values' user and Secret, if not those of the service.
*/}}
{{- define "beacon.databaseEnv" -}}
{{- $login := .login | default .root.Values.database -}}
{{- $file := .root.Values.database.passwordFile | default "" -}}
{{- $fromFile := ternary (printf "password_file=%s" $file) "" (not (empty $file)) -}}
{{- $options := compact (list .root.Values.database.options $fromFile (include "beacon.databaseTls" .)) | join "&" -}}
{{- with .root.Values.database -}}
{{- if not $file }}
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: {{ $login.secret.name }}, key: {{ $login.secret.key }}}}
{{- end }}
- name: BEACON_DATABASE_URL
  value: postgresql+psycopg://{{ $login.user }}@{{ .host }}:{{ .port }}/{{ .name }}{{ with $options }}?{{ . }}{{ end }}
{{- end -}}
{{- include "beacon.logEnv" (dict "root" .root) -}}
{{- end -}}

{{/* Feast's connection string of Redis. The services put the password in, as a comma in it has to be quoted. */}}
{{- define "beacon.redisEnv" -}}
{{- $tls := "" -}}
{{- if .root.Values.tls.redis -}}
{{- $tls = "ssl=true,ssl_cert_reqs=required,ssl_check_hostname=true" -}}
{{- if include "beacon.hasCa" . -}}
{{- $tls = printf "%s,ssl_ca_certs=%s" $tls (include "beacon.caFile" .) -}}
{{- end -}}
{{- end -}}
{{- with .root.Values.redis -}}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .secret.name }}, key: {{ .secret.key }}}}
- name: REDIS_CONNECTION
  value: {{ .nodes | default (list (printf "%s:%v" .host .port)) | join "," }}{{ range compact (list .options $tls) }},{{ . }}{{ end }}
- name: BEACON_FEATURE_REPO
  value: /app/feature_repo/{{ .type | replace "_" "-" }}
{{- if eq .type "redis_sentinel" }}
- name: REDIS_SENTINEL_MASTER
  value: {{ .sentinelMaster }}
{{- end }}
{{- end }}
{{ include "beacon.installationEnv" . }}
{{- end -}}

{{/* An optional secret as a variable: absent means empty, and empty switches the thing off. `variable`, `secret`. */}}
{{- define "beacon.secretEnv" -}}
- name: {{ .variable }}
  valueFrom: {secretKeyRef: {name: {{ .secret.name }}, key: {{ .secret.key }}, optional: {{ .optional | default false }}}}
{{- end -}}

{{/* The values' own variables, last: they win. */}}
{{- define "beacon.extraEnv" -}}
{{- range $name, $value := .root.Values.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- range $name, $secret := .root.Values.secretEnv }}
- name: {{ $name }}
  valueFrom: {secretKeyRef: {name: {{ $secret.name }}, key: {{ $secret.key }}}}
{{- end }}
{{- end -}}

{{/* While it sleeps, everyone learns that the pod is going, and requests already on their way are answered. */}}
{{- define "beacon.preStop" -}}
{{- with .root.Values.shutdown.preStopSeconds -}}
preStop: {sleep: {seconds: {{ . }}}}
{{- else -}}
{}
{{- end -}}
{{- end -}}
