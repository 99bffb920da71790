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

{{/*
The log's topic of Kafka (`global.log.kafka`), for who ships to it and who reads it: brokers, topic, and the client's own settings, a
key of the Secret, which is mounted with all that it has. `clientFile`: the key.
*/}}
{{- define "beacon.kafkaEnv" -}}
{{- $kafka := (include "beacon.globalLog" .root | fromJson).kafka | default dict -}}
- {name: BEACON_KAFKA_BROKERS, value: {{ $kafka.brokers | required "global.log.kafka.brokers: some brokers of Kafka, HOST:PORT" | join "," | quote }}}
- {name: BEACON_KAFKA_TOPIC, value: {{ $kafka.topic | required "global.log.kafka.topic: the topic of the prediction log" | quote }}}
{{- with $kafka.secret }}
- {name: BEACON_KAFKA_FILE, value: /etc/beacon-kafka/{{ $.clientFile }}}
{{- end }}
{{- end -}}

{{- define "beacon.kafkaMount" -}}
{{- if ((include "beacon.globalLog" .root | fromJson).kafka | default dict).secret -}}
- {name: kafka, mountPath: /etc/beacon-kafka, readOnly: true}
{{- end -}}
{{- end -}}

{{- define "beacon.kafkaVolume" -}}
{{- with ((include "beacon.globalLog" .root | fromJson).kafka | default dict).secret -}}
- {name: kafka, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end -}}
{{- end -}}

{{/* The rule for the brokers: those that are named, and the other ports of `global.log.kafka.ports`, in the cluster or outside. */}}
{{- define "beacon.kafkaEgress" -}}
{{- $kafka := (include "beacon.globalLog" .root | fromJson).kafka | default dict -}}
{{- $ports := list -}}
{{- range $kafka.brokers -}}{{- $ports = append $ports (splitList ":" . | last | int) -}}{{- end -}}
{{- range $kafka.ports -}}{{- $ports = append $ports (int .) -}}{{- end -}}
- to:
    {{- with $kafka.cidrs }}
    {{- include "beacon.cidrs" . | nindent 4 }}
    {{- else }}
    - namespaceSelector: {}
    {{- include "beacon.anywhere" $ | nindent 4 }}
    {{- end }}
  ports:
    {{- range uniq $ports }}
    - port: {{ . }}
    {{- end }}
{{- end -}}

{{/* Whether the lake that is read gets its predictions from Kafka's consumer alone: the log's process ships to Kafka, and not to the lake. */}}
{{- define "beacon.topicToLake" -}}
{{- $log := include "beacon.globalLog" .root | fromJson -}}
{{- $stores := $log.stores | default "sql" | splitList "," -}}
{{- if and (has "kafka" $stores) (not (has "lake" $stores)) (eq ($log.read | default "") "lake") }}true{{ end -}}
{{- end -}}

{{/* Whether a pod may talk to S3: where there is a lake, those that log in to the store, but for MLflow and migrations. */}}
{{- define "beacon.usesLake" -}}
{{- $lake := (include "beacon.globalLog" .root | fromJson).lake | default dict -}}
{{- if and $lake.place (has "postgresql" (.reaches | default list)) (ne .name "mlflow") (not (hasSuffix "-migration" .name)) }}true{{ end -}}
{{- end -}}
