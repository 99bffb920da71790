{{/* The spec of an AlertmanagerConfig: what _alertmanager.tpl says, in the operator's words. */}}

{{- define "monitoring.operator.matchers" -}}
{{- $matchers := list -}}
{{- range $label, $value := . }}{{ $matchers = append $matchers (dict "name" $label "value" $value "matchType" "=") }}{{ end -}}
{{- toJson $matchers -}}
{{- end -}}

{{- define "monitoring.operator.receiver" -}}
{{- $title := .root.Files.Get "files/title.tmpl" | trim -}}
{{- $text := .root.Files.Get "files/text.tmpl" | trim -}}
{{- $kinds := dict -}}
{{- range $way := .ways -}}
{{- range $kind, $given := $way -}}
{{- $secret := $given.secret -}}
{{- $config := dict "sendResolved" (ne $.name "deadman") -}}
{{- if eq $kind "pagerduty" -}}
{{- $_ := merge $config (dict "routingKey" $secret "severity" "{{ .CommonLabels.severity }}" "description" $title "details" (list (dict "key" "text" "value" $text))) -}}
{{- with $given.url }}{{ $_ := set $config "url" . }}{{ end -}}
{{- else if eq $kind "opsgenie" -}}
{{- $_ := merge $config (dict "apiKey" $secret "message" $title "description" $text "priority" "{{ if eq .CommonLabels.severity \"critical\" }}P1{{ else }}P3{{ end }}") -}}
{{- with $given.url }}{{ $_ := set $config "apiURL" . }}{{ end -}}
{{- with $given.team }}{{ $_ := set $config "responders" (list (dict "name" . "type" "team")) }}{{ end -}}
{{- else if eq $kind "slack" -}}
{{- $_ := merge $config (dict "apiURL" $secret "title" $title "text" $text) -}}
{{- with $given.channel }}{{ $_ := set $config "channel" . }}{{ end -}}
{{- else if eq $kind "email" -}}
{{- $_ := merge $config (dict "to" $given.to "from" $given.from "smarthost" $given.smarthost "requireTLS" (ne $given.requireTls false) "headers" (list (dict "key" "Subject" "value" $title)) "text" $text "html" "") -}}
{{- with $given.username }}{{ $_ := set $config "authUsername" . }}{{ end -}}
{{- with $secret }}{{ $_ := set $config "authPassword" . }}{{ end -}}
{{- else if eq $kind "webhook" -}}
{{- $_ := set $config "url" $given.url -}}
{{- with $secret }}{{ $_ := set $config "httpConfig" (dict "authorization" (dict "type" "Bearer" "credentials" .)) }}{{ end -}}
{{- end -}}
{{- $key := printf "%sConfigs" $kind -}}
{{- $_ := set $kinds $key (append (index $kinds $key | default list) $config) -}}
{{- end -}}
{{- end -}}
{{- toYaml (merge (dict "name" .name) $kinds) -}}
{{- end -}}

{{- define "monitoring.alertmanagerConfig" -}}
{{- $muted := keys .Values.muteTimes | sortAlpha -}}
route:
  receiver: ticket
  groupBy: [namespace, installation, alertname]
  # Another installation of the namespace has its own.
  matchers: {{ include "monitoring.operator.matchers" (dict "installation" (include "beacon.installation" .)) }}
  routes:
    {{- range $route := include "monitoring.routes" . | fromYamlArray }}
    - matchers: {{ include "monitoring.operator.matchers" $route.when }}
      receiver: {{ $route.receiver }}
      groupWait: {{ index $route.waits 0 }}
      groupInterval: {{ index $route.waits 1 }}
      repeatInterval: {{ index $route.waits 2 }}
      {{- if and (eq $route.receiver "ticket") $muted }}
      muteTimeIntervals: {{ toJson $muted }}
      {{- end }}
      {{- with include "monitoring.teams" (dict "root" $ "kind" $route.receiver) | fromYaml }}
      routes:
        {{- range $team, $receiver := . }}
        - matchers: {{ include "monitoring.operator.matchers" (dict "team" $team) }}
          receiver: {{ $receiver }}
          {{- if and (eq $route.receiver "ticket") $muted }}
          muteTimeIntervals: {{ toJson $muted }}
          {{- end }}
        {{- end }}
      {{- end }}
    {{- end }}
receivers:
  {{- range $name, $ways := .Values.receivers }}
  - {{- include "monitoring.operator.receiver" (dict "root" $ "name" $name "ways" $ways) | nindent 4 }}
  {{- end }}
inhibitRules:
  - sourceMatch: {{ include "monitoring.operator.matchers" (dict "severity" "critical") }}
    targetMatch: {{ include "monitoring.operator.matchers" (dict "severity" "warning") }}
    equal: [namespace, installation, alertname, model_version]
  {{- range .Files.Get "files/inhibitions.yaml" | fromYamlArray }}
  - sourceMatch: {{ include "monitoring.operator.matchers" .cause }}
    targetMatch: [{name: alertname, value: {{ join "|" .symptoms | quote }}, matchType: "=~"}]
    equal: {{ append .equal "installation" | toJson }}
  {{- end }}
{{- with .Values.muteTimes }}
muteTimeIntervals:
  {{- range $name, $times := . }}
  - name: {{ $name }}
    timeIntervals:
      {{- range $times }}
      {{- $interval := dict }}
      {{- with .weekdays }}{{ $_ := set $interval "weekdays" . }}{{ end }}
      {{- $spans := list }}
      {{- range .times }}{{ $spans = append $spans (dict "startTime" .start "endTime" .end) }}{{ end }}
      {{- with $spans }}{{ $_ := set $interval "times" . }}{{ end }}
      - {{ toJson $interval }}
      {{- end }}
  {{- end }}
{{- end }}
{{- end -}}
