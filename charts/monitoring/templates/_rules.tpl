{{/*
The series of this installation. Beacon's Prometheus and the operator's ServiceMonitors label them; those of `beacon` may be without,
as they were before there were labels, and as they are where another Prometheus scrapes.
*/}}
{{- define "monitoring.ofInstallation" -}}
{{- $name := include "beacon.installation" . -}}
installation{{ if eq $name "beacon" }}=~"|beacon"{{ else }}="{{ $name }}"{{ end }}
{{- end -}}

{{/* An expression that sees this installation's series alone; what others share, such as the kubelet's, is left. `root`, `expr`. */}}
{{- define "monitoring.scoped" -}}
{{- $own := printf `namespace=~"|%s",%s` .root.Release.Namespace (include "monitoring.ofInstallation" .root) -}}
{{- $names := `(beacon[_:][a-zA-Z0-9_:]+|http_[a-z_]+_(?:total|sum|count|bucket)|api_errors_total|model_[a-z_]+_(?:total|count|bucket)|probe_success)` -}}
{{- $braced := regexReplaceAll (printf `\b%s\{` $names) .expr (printf `${1}{%s,` $own) -}}
{{- regexReplaceAll (printf `\b%s([^a-zA-Z0-9_:{]|$)` $names) $braced (printf `${1}{%s}${2}` $own) -}}
{{- end -}}

{{/*
The groups of one file of rules, about this installation's series alone. Each rule is labelled with the namespace and the
installation, since absent() and vector() know none and inhibition goes by them, and each alert with the product; its links lead
where the values say. What the product has no pods of is not missed.
*/}}
{{- define "monitoring.groups" -}}
{{- $links := .root.Values.links -}}
{{- $name := include "beacon.installation" .root -}}
{{- $labels := dict "namespace" .root.Release.Namespace "installation" $name -}}
{{- $product := include "beacon.productName" (dict "root" .root) -}}
{{- $rules := .root.Files.Get .file | fromYaml -}}
{{- range $group := $rules.groups -}}
{{- range $rule := $group.rules -}}
{{- if $rule.alert -}}
{{- if not (include "beacon.hasEntity" $.root) -}}
{{- $_ := set $rule "expr" ($rule.expr | replace "absent(beacon_build_info{service=\"feature-serving\"})\nor " "") -}}
{{- end -}}
{{- $_ := set $rule "labels" (merge (dict "product" $product) $labels $rule.labels) -}}
{{- $notes := $rule.annotations -}}
{{- $_ := set $notes "runbook_url" ($notes.runbook_url | replace "https://beacon.example/runbooks" $links.runbooks) -}}
{{- $_ := set $notes "dashboard_url" ($notes.dashboard_url | replace "https://beacon.example/d/beacon-" (printf "%s/%s-" $links.dashboards $name)) -}}
{{- else -}}
{{- $_ := set $rule "labels" (merge (dict) $labels ($rule.labels | default dict)) -}}
{{- end -}}
{{- $claims := printf `namespace="%s",persistentvolumeclaim=~".*%s.*"` $.root.Release.Namespace $name -}}
{{- $_ := set $rule "expr" ($rule.expr | replace `persistentvolumeclaim=~".*beacon.*"` $claims) -}}
{{- $_ := set $rule "expr" (include "monitoring.scoped" (dict "root" $.root "expr" $rule.expr)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $rules -}}
{{- end -}}
