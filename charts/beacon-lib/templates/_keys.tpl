{{/*
The file of named API keys, a Secret that is mounted as a folder: so pods see a change of it without a restart.
A pod whose values name a Secret that is not there does not start.
*/}}
{{- define "beacon.keysEnv" -}}
{{- with .root.Values.keys -}}
{{- if .name -}}
- {name: BEACON_API_KEYS_FILE, value: /etc/beacon-keys/{{ .key }}}
{{- end }}
{{- with .requiredFor }}
- {name: BEACON_CLOSED_SCOPES, value: {{ join "," . | quote }}}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "beacon.keysMount" -}}
{{- if .root.Values.keys.name }}
- {name: keys, mountPath: /etc/beacon-keys, readOnly: true}
{{- end }}
{{- end -}}

{{- define "beacon.keysVolume" -}}
{{- with .root.Values.keys }}
{{- if .name }}
- name: keys
  secret: {secretName: {{ .name }}, items: [{key: {{ .key | toJson }}, path: {{ .key | toJson }}}]}
{{- end }}
{{- end }}
{{- end -}}
