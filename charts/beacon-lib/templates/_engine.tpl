{{/*
What runs the jobs that read the log: a process of their own, or Apache Spark (`global.engine` and `global.spark` of the umbrella
chart, or of a chart that is installed by itself). A job of which the context says `engine` runs on Spark in Spark's image, with
Spark's options from a ConfigMap of its chart.
*/}}
{{/* `spark` where the context's job runs on it; empty: it runs in its own process. The rule is that of beacon_core/domain/engines.py. */}}
{{- define "beacon.engine" -}}
{{- $engine := (.root.Values.global | default dict).engine | default "local" -}}
{{- if not (has $engine (list "local" "spark")) }}{{ fail (printf "global.engine: must be local or spark, and is %s" $engine) }}{{ end -}}
{{- if and .engine (eq $engine "spark") -}}
{{- $log := include "beacon.globalLog" .root | fromJson -}}
{{- if ne ($log.read | default (splitList "," ($log.stores | default "sql") | first)) "lake" -}}
{{- fail "global.engine: spark reads the log in the lake: global.log.stores must begin with lake (lake, or lake,sql), or global.log.read be lake" -}}
{{- end -}}
spark
{{- end -}}
{{- end -}}

{{/* `global.spark`, with what it leaves empty. */}}
{{- define "beacon.spark" -}}
{{- $given := (.root.Values.global | default dict).spark | default dict -}}
{{- $image := dict "repository" "beacon-spark" "pullPolicy" "IfNotPresent" -}}
{{- $resources := dict "requests" (dict "cpu" "1" "memory" "2Gi") "limits" (dict "memory" "4Gi") -}}
{{- toJson (merge (deepCopy $given) (dict "image" $image "master" "local[2]" "driverMemory" "1g" "resources" $resources)) -}}
{{- end -}}

{{/* Whether Spark is elsewhere, and not in the job's own pod. */}}
{{- define "beacon.sparkIsElsewhere" -}}
{{- if include "beacon.engine" . -}}
{{- if not (hasPrefix "local" (include "beacon.spark" . | fromJson).master) }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* Whether the job asks the Kubernetes API for its workers. */}}
{{- define "beacon.sparkAsksApi" -}}
{{- if include "beacon.engine" . -}}
{{- if hasPrefix "k8s://" (include "beacon.spark" . | fromJson).master }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* The ports at which workers reach the driver. */}}
{{- define "beacon.sparkPorts" -}}
spark.driver.port: 7078
spark.blockManager.port: 7079
{{- end -}}

{{/* Who belongs to a Spark elsewhere, by `global.spark.peers`. */}}
{{- define "beacon.sparkPeers" -}}
{{- if include "beacon.sparkIsElsewhere" . -}}
{{- with (include "beacon.spark" . | fromJson).peers }}{{ toYaml . }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "beacon.engineEnv" -}}
- {name: BEACON_ENGINE, value: spark}
- {name: BEACON_SPARK_MASTER, value: {{ (include "beacon.spark" . | fromJson).master | quote }}}
- {name: BEACON_SPARK_CONF, value: /etc/beacon-spark/spark.conf}
{{- if include "beacon.sparkIsElsewhere" . }}
- {name: SPARK_LOCAL_HOSTNAME, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
{{- end }}
{{- end -}}

{{/* Changes the context of a pod on Spark, in place: image, variables (those that the container has win), options, resources. */}}
{{- define "beacon.onEngine" -}}
{{- if include "beacon.engine" . -}}
{{- $context := . -}}
{{- $spark := include "beacon.spark" . | fromJson -}}
{{- $_ := set . "image" $spark.image -}}
{{- $_ := set . "tmp" "2Gi" -}}
{{- if include "beacon.sparkAsksApi" . -}}
{{- $_ := set . "api" true -}}
{{- if not (include "beacon.serviceAccountName" .) -}}
{{- fail (printf "global.spark.master: k8s:// has Spark make pods, so serviceAccount.name of the chart %s must be an account that may" .root.Chart.Name) -}}
{{- end -}}
{{- end -}}
{{- $env := include "beacon.engineEnv" . | fromYamlArray -}}
{{- range .pod.containers -}}
{{- $names := list -}}
{{- range .env -}}{{- $names = append $names .name -}}{{- end -}}
{{- $own := list -}}
{{- range $env -}}{{- if not (has .name $names) -}}{{- $own = append $own . -}}{{- end -}}{{- end -}}
{{- $_ := set . "env" (concat $own (.env | default list)) -}}
{{- $_ := set . "resources" $spark.resources -}}
{{- $_ := set . "volumeMounts" (append (.volumeMounts | default list) (dict "name" "spark-options" "mountPath" "/etc/beacon-spark" "readOnly" true)) -}}
{{- end -}}
{{- $options := dict "name" "spark-options" "configMap" (dict "name" (include "beacon.engineOptionsName" $context)) -}}
{{- $_ := set .pod "volumes" (append (.pod.volumes | default list) $options) -}}
{{- end -}}
{{- end -}}

{{- define "beacon.engineOptionsName" -}}
{{ include "beacon.installation" .root }}-{{ .root.Chart.Name }}-spark
{{- end -}}

{{/* Spark's options of a chart's jobs, as spark-defaults.conf has them; those of `global.spark.conf` win. Nothing without Spark. */}}
{{- define "beacon.engineOptions" -}}
{{- if include "beacon.engine" . -}}
{{- $spark := include "beacon.spark" . | fromJson -}}
{{- $options := dict "spark.driver.memory" $spark.driverMemory -}}
{{- if include "beacon.sparkIsElsewhere" . -}}
{{- $options = merge $options (include "beacon.sparkPorts" . | fromYaml) -}}
{{- end -}}
{{- $options = mergeOverwrite $options ($spark.conf | default dict) -}}
apiVersion: v1
kind: ConfigMap
metadata: {{- include "beacon.metadata" (dict "root" .root "name" .root.Chart.Name "suffix" "spark") | nindent 2 }}
data:
  spark.conf: |
    {{- range $name, $value := $options }}
    {{ $name }} {{ $value }}
    {{- end }}
{{- end -}}
{{- end -}}
