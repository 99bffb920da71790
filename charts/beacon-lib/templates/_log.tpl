{{/*
The stores of the prediction log, for whoever logs in to the store: `global.log` of the umbrella chart, or of a chart that is
installed by itself (--set global.log.stores=sql,lake). Without it there is no lake, and nothing is set.
*/}}
{{- define "beacon.globalLog" -}}
{{- toJson ((.Values.global | default dict).log | default dict) -}}
{{- end -}}

{{- define "beacon.lakePlace" -}}
{{- ((include "beacon.globalLog" .root | fromJson).lake | default dict).place | default "" -}}
{{- end -}}

{{- define "beacon.logEnv" -}}
{{- $log := include "beacon.globalLog" .root | fromJson -}}
{{- $stores := $log.stores | default "sql" -}}
{{- $lake := $log.lake | default dict -}}
{{- range $moved := list "endpoint" "region" "secret" }}
{{- if index $lake $moved }}{{ fail (printf "global.log.lake.%s: is global.s3.%s, for everything in S3" $moved $moved) }}{{ end -}}
{{- end }}
{{- if and (or (contains "lake" $stores) (eq ($log.read | default "") "lake")) (not $lake.place) }}{{ fail "global.log.lake.place: stores or read names the lake, so this has to say where it is" }}{{ end -}}
{{- if ne $stores "sql" }}
- {name: BEACON_LOG_STORES, value: {{ $stores | quote }}}
{{- end }}
{{- with $log.read }}
- {name: BEACON_LOG_READ, value: {{ . | quote }}}
{{- end }}
{{- with $lake.place }}
- {name: BEACON_LAKE, value: {{ . | quote }}}
- name: BEACON_LAKE_CATALOG_URL
  valueFrom: {secretKeyRef: {name: {{ $lake.catalogSecret | required "global.log.lake.catalogSecret: the Secret with the database of the lake's catalog" }}, key: url}}
{{- include "beacon.s3Env" $ }}
{{- end }}
{{- end -}}

{{/* Whether a pod may talk to S3: where there is a lake, those that log in to the store, but for MLflow and migrations. */}}
{{- define "beacon.usesLake" -}}
{{- $lake := (include "beacon.globalLog" .root | fromJson).lake | default dict -}}
{{- if and $lake.place (has "postgresql" (.reaches | default list)) (ne .name "mlflow") (not (hasSuffix "-migration" .name)) }}true{{ end -}}
{{- end -}}
