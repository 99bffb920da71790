{{/* The configuration of Alertmanager, and the same for the operator; both from one routing tree and one list of ways. */}}

{{/* Which alerts go to which receiver; waits: for the first of a group, between two of a group, until it is told again. */}}
{{- define "monitoring.routes" -}}
- when: {alertname: Watchdog}
  receiver: deadman
  waits: [0s, 1m, {{ .Values.deadmanInterval }}]
- when: {severity: critical}
  receiver: page
  waits: [10s, 1m, 1h]
- when: {severity: warning}
  receiver: ticket
  waits: [30s, 5m, 24h]
{{- end -}}

{{/* Receivers of teams must be there. `root`, `kind`: page or ticket. */}}
{{- define "monitoring.teams" -}}
{{- range $team, $names := .root.Values.teams }}
{{- with index $names $.kind }}
{{- if not (hasKey $.root.Values.receivers .) }}{{ fail (printf "teams.%s.%s: no receiver is called %s" $team $.kind .) }}{{ end }}
{{ $team }}: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "monitoring.secretFile" -}}
/etc/alertmanager/secrets/{{ .name }}/{{ .key }}
{{- end -}}

{{- define "monitoring.receiver" -}}
{{- $title := .root.Files.Get "files/title.tmpl" | trim -}}
{{- $text := .root.Files.Get "files/text.tmpl" | trim -}}
{{- $resolved := ne .name "deadman" -}}
{{- $kinds := dict -}}
{{- range $way := .ways -}}
{{- range $kind, $given := $way -}}
{{- $secret := $given.secret -}}
{{- $config := dict "send_resolved" $resolved -}}
{{- if eq $kind "pagerduty" -}}
{{- $_ := merge $config (dict "routing_key_file" (include "monitoring.secretFile" $secret) "severity" "{{ .CommonLabels.severity }}" "description" $title "details" (dict "text" $text)) -}}
{{- with $given.url }}{{ $_ := set $config "url" . }}{{ end -}}
{{- else if eq $kind "opsgenie" -}}
{{- $_ := merge $config (dict "api_key_file" (include "monitoring.secretFile" $secret) "message" $title "description" $text "priority" "{{ if eq .CommonLabels.severity \"critical\" }}P1{{ else }}P3{{ end }}") -}}
{{- with $given.url }}{{ $_ := set $config "api_url" . }}{{ end -}}
{{- with $given.team }}{{ $_ := set $config "responders" (list (dict "name" . "type" "team")) }}{{ end -}}
{{- else if eq $kind "slack" -}}
{{- $_ := merge $config (dict "api_url_file" (include "monitoring.secretFile" $secret) "title" $title "text" $text) -}}
{{- with $given.channel }}{{ $_ := set $config "channel" . }}{{ end -}}
{{- else if eq $kind "email" -}}
{{- $_ := merge $config (dict "to" $given.to "from" $given.from "smarthost" $given.smarthost "require_tls" (ne $given.requireTls false) "headers" (dict "Subject" $title) "text" $text "html" "") -}}
{{- with $given.username }}{{ $_ := set $config "auth_username" . }}{{ end -}}
{{- with $secret }}{{ $_ := set $config "auth_password_file" (include "monitoring.secretFile" .) }}{{ end -}}
{{- else if eq $kind "webhook" -}}
{{- $_ := set $config "url" $given.url -}}
{{- with $secret }}{{ $_ := set $config "http_config" (dict "authorization" (dict "type" "Bearer" "credentials_file" (include "monitoring.secretFile" .))) }}{{ end -}}
{{- end -}}
{{- $key := printf "%s_configs" $kind -}}
{{- $_ := set $kinds $key (append (index $kinds $key | default list) $config) -}}
{{- end -}}
{{- end -}}
{{- toYaml (merge (dict "name" .name) $kinds) -}}
{{- end -}}

{{- define "monitoring.alertmanager" -}}
route:
  receiver: ticket
  group_by: [namespace, installation, alertname]
  routes:
    {{- range $route := include "monitoring.routes" . | fromYamlArray }}
    - matchers: [{{ range $label, $value := $route.when }}'{{ $label }}="{{ $value }}"'{{ end }}]
      receiver: {{ $route.receiver }}
      group_wait: {{ index $route.waits 0 }}
      group_interval: {{ index $route.waits 1 }}
      repeat_interval: {{ index $route.waits 2 }}
      {{- if and (eq $route.receiver "ticket") $.Values.muteTimes }}
      mute_time_intervals: {{ keys $.Values.muteTimes | sortAlpha | toJson }}
      {{- end }}
      {{- with include "monitoring.teams" (dict "root" $ "kind" $route.receiver) | fromYaml }}
      routes:
        {{- range $team, $receiver := . }}
        - matchers: ['team="{{ $team }}"']
          receiver: {{ $receiver }}
          {{- if and (eq $route.receiver "ticket") $.Values.muteTimes }}
          mute_time_intervals: {{ keys $.Values.muteTimes | sortAlpha | toJson }}
          {{- end }}
        {{- end }}
      {{- end }}
    {{- end }}
receivers:
  {{- range $name, $ways := .Values.receivers }}
  - {{- include "monitoring.receiver" (dict "root" $ "name" $name "ways" $ways) | nindent 4 }}
  {{- end }}
inhibit_rules:
  # Who is paged for an alert needs no ticket for it.
  - source_matchers: ['severity="critical"']
    target_matchers: ['severity="warning"']
    equal: [namespace, installation, alertname, model_version]
  {{- range .Files.Get "files/inhibitions.yaml" | fromYamlArray }}
  - source_matchers: [{{ range $label, $value := .cause }}'{{ $label }}="{{ $value }}"', {{ end }}]
    target_matchers: ['alertname=~"{{ join "|" .symptoms }}"']
    equal: {{ append .equal "installation" | toJson }}
  {{- end }}
{{- with .Values.muteTimes }}
time_intervals:
  {{- range $name, $times := . }}
  - name: {{ $name }}
    time_intervals:
      {{- range $times }}
      {{- $interval := dict }}
      {{- with .weekdays }}{{ $_ := set $interval "weekdays" . }}{{ end }}
      {{- $spans := list }}
      {{- range .times }}{{ $spans = append $spans (dict "start_time" .start "end_time" .end) }}{{ end }}
      {{- with $spans }}{{ $_ := set $interval "times" . }}{{ end }}
      - {{ toJson $interval }}
      {{- end }}
  {{- end }}
{{- end }}
{{- end -}}
