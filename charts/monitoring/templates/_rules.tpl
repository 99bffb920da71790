{{/*
The groups of one file of rules. Each alert is labelled with the release's namespace, since absent() and vector() know none and
inhibition goes by it, and its links lead where the values say. What the product has no pods of is not missed.
*/}}
{{- define "monitoring.groups" -}}
{{- $links := .root.Values.links -}}
{{- $rules := .root.Files.Get .file | fromYaml -}}
{{- range $group := $rules.groups -}}
{{- range $rule := $group.rules -}}
{{- if $rule.alert -}}
{{- if not (include "beacon.hasEntity" $.root) -}}
{{- $_ := set $rule "expr" ($rule.expr | replace "absent(beacon_build_info{service=\"feature-serving\"})\nor " "") -}}
{{- end -}}
{{- $_ := set $rule.labels "namespace" $.root.Release.Namespace -}}
{{- $notes := $rule.annotations -}}
{{- $_ := set $notes "runbook_url" ($notes.runbook_url | replace "https://beacon.example/runbooks" $links.runbooks) -}}
{{- $_ := set $notes "dashboard_url" ($notes.dashboard_url | replace "https://beacon.example/d" $links.dashboards) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $rules -}}
{{- end -}}
