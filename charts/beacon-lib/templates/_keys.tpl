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

{{/* The issuer of JWTs, which it has to reach for its keys. */}}
{{- define "beacon.jwtEnv" -}}
{{- with .root.Values.jwt -}}
{{- if .issuer -}}
- {name: BEACON_JWT_ISSUER, value: {{ .issuer | quote }}}
- {name: BEACON_JWT_AUDIENCE, value: {{ required "jwt.audience: what a JWT's aud has to name" .audience | quote }}}
- {name: BEACON_JWT_JWKS_URL, value: {{ required "jwt.jwksUrl: where the issuer's public keys are" .jwksUrl | quote }}}
{{- with .scopes }}
{{- $pairs := list }}
{{- range $theirs, $ours := . }}{{ $pairs = append $pairs (printf "%s=%s" $theirs $ours) }}{{ end }}
- {name: BEACON_JWT_SCOPES, value: {{ join "," $pairs | quote }}}
{{- end }}
{{- with .quota }}
{{- $pairs := list }}
{{- range $name, $most := . }}{{ $pairs = append $pairs (printf "%s=%s" $name (toJson $most)) }}{{ end }}
- {name: BEACON_JWT_QUOTA, value: {{ join "," $pairs | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The port of a URL, as a number. */}}
{{- define "beacon.portOf" -}}
{{- $parts := urlParse . -}}
{{- if contains ":" (regexReplaceAll `^.*\]` $parts.host "") -}}
{{- regexFind "[0-9]+$" $parts.host -}}
{{- else if eq $parts.scheme "http" -}}80{{- else -}}443{{- end -}}
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
