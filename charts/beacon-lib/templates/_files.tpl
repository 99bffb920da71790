{{/*
The files that services share: on a volume that their pods mount, or in S3 (`global.files.place`), where no pod mounts any. How S3
is reached is said once, in `global.s3`, for them and for the lake of the prediction log.
*/}}
{{- define "beacon.filesPlace" -}}
{{- $place := ((.Values.global | default dict).files | default dict).place | default "" | replace "$(name)" (include "beacon.installation" .) -}}
{{- if and $place (not (regexMatch "^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*%:]*)?$" $place)) -}}
{{- fail (printf "global.files.place: must be s3://BUCKET/FOLDER, and is %s" $place) -}}
{{- end -}}
{{- trimSuffix "/" $place -}}
{{- end -}}

{{/* Puts into a chart's values what follows of files in S3: nothing names the volume, nor makes it. */}}
{{- define "beacon.managedFiles" -}}
{{- $values := .Values -}}
{{- if include "beacon.filesPlace" . -}}
{{- if hasKey $values "packagesClaim" -}}{{- $_ := set $values "packagesClaim" "" -}}{{- end -}}
{{- with $values.inferencePods -}}{{- $_ := set . "claim" "" -}}{{- end -}}
{{- if hasKey $values "dvcRemote" -}}
{{- if not (contains "://" $values.dvcRemote) -}}{{- $_ := set $values "dvcRemote" "" -}}{{- end -}}
{{- end -}}
{{- with $values.files -}}{{- $_ := set . "enabled" false -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Where shared files are, and how to reach them. `database`: the container has `beacon.databaseEnv`; `alone`: it only has to know. */}}
{{- define "beacon.filesEnv" -}}
{{- with include "beacon.filesPlace" .root -}}
- {name: BEACON_FILES, value: {{ . | quote }}}
{{- if not (or $.alone (and $.database (include "beacon.lakePlace" $))) }}
{{- include "beacon.s3Env" $ }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "beacon.s3Env" -}}
{{- with (.root.Values.global | default dict).s3 }}
{{- with .endpoint }}
- {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- with .region }}
- {name: AWS_REGION, value: {{ . | quote }}}
{{- end }}
{{- with .secret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ . }}, key: access-key-id}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ . }}, key: secret-access-key}}
{{- end }}
{{- if .ca }}
{{- if not (include "beacon.hasCa" $) }}{{ fail "global.s3.ca: global.tls.ca.configMap has to name the authorities" }}{{ end }}
- {name: AWS_CA_BUNDLE, value: {{ include "beacon.caFile" $ }}}
{{- end }}
{{- end }}
{{- end -}}

{{/* The volume `files` of a job: the one that is shared, or a disk of its own of `size` for the run. */}}
{{- define "beacon.filesVolume" -}}
{{- if include "beacon.filesPlace" .root -}}
{name: files, emptyDir: {sizeLimit: {{ .size }}}}
{{- else -}}
{name: files, persistentVolumeClaim: {claimName: {{ include "beacon.installation" .root }}-files}}
{{- end -}}
{{- end -}}

{{/* Whether a pod may talk to S3: `objects` says that it reads or writes shared files. */}}
{{- define "beacon.usesS3" -}}
{{- if or (include "beacon.usesLake" .) (and .objects (include "beacon.filesPlace" .root)) }}true{{ end -}}
{{- end -}}

{{/* The rule for an S3 that is not on port 443, or whose addresses are named. */}}
{{- define "beacon.s3Egress" -}}
{{- $s3 := (.root.Values.global | default dict).s3 | default dict -}}
{{- $port := ternary "443" (include "beacon.portOf" ($s3.endpoint | default "https://s3")) (empty $s3.endpoint) -}}
{{- if or $s3.cidrs (ne $port "443") -}}
- ports: [{port: {{ $port }}}]
  to:
    {{- with $s3.cidrs }}
    {{- include "beacon.cidrs" . | nindent 4 }}
    {{- else }}
    {{- include "beacon.anywhere" $ | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}
