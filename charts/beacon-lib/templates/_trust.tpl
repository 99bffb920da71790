{{/*
Whom a pod trusts, and as whom it logs in. The CA of the servers that it connects to (`tls`), in every pod; in those whose
template says so, the public keys of model packages (`reads`: models), the private one (`signs`) and the login to MLflow (`mlflow`).
Each comes as a volume, so pods see a change without a restart, but for the login.
*/}}
{{- define "beacon.caFile" -}}
/etc/beacon-ca/{{ .root.Values.tls.ca.key }}
{{- end -}}

{{- define "beacon.hasCa" -}}
{{- if ((.root.Values.tls | default dict).ca | default dict).configMap }}true{{ end -}}
{{- end -}}

{{/* How libpq must verify the server, to be appended to an address with other options or none. */}}
{{- define "beacon.databaseTls" -}}
{{- if (.root.Values.tls | default dict).database -}}
sslmode=verify-full&sslrootcert={{ if include "beacon.hasCa" . }}{{ include "beacon.caFile" . }}{{ else }}system{{ end }}
{{- end -}}
{{- end -}}

{{- define "beacon.trustEnv" -}}
{{- $values := .root.Values -}}
{{- if and .reads $values.signatures }}
{{- with $values.signatures }}
{{- if .configMap }}
- {name: BEACON_MODEL_KEYS_FILE, value: /etc/beacon-model-keys/{{ .key }}}
{{- else if .required }}
{{- fail "signatures.configMap: the ConfigMap with the public keys that packages must be signed by, or set signatures.required=false" }}
{{- end }}
- {name: BEACON_MODEL_SIGNATURES, value: {{ ternary "required" "allowed" .required }}}
{{- end }}
{{- end }}
{{- if and .signs $values.signatures.secret.name }}
- {name: BEACON_MODEL_SIGNING_KEY_FILE, value: /etc/beacon-model-signing/{{ $values.signatures.secret.key }}}
{{- end }}
{{- if .mlflow }}
{{- with $values.mlflowLogin }}
{{- if .token }}
- name: MLFLOW_TRACKING_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .token.name }}, key: {{ .token.key }}}}
{{- else if .secret.name }}
- {name: MLFLOW_TRACKING_USERNAME, value: {{ .user }}}
- name: MLFLOW_TRACKING_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .secret.name }}, key: {{ .secret.key }}}}
{{- end }}
{{- end }}
{{- if ($values.tls | default dict).mlflow }}
{{- if not (hasPrefix "https://" ($values.mlflowUrl | default ($values.prober | default dict).mlflowUrl)) }}
{{- fail "tls.mlflow: mlflowUrl must begin with https://" }}
{{- end }}
{{- if include "beacon.hasCa" . }}
- {name: MLFLOW_TRACKING_SERVER_CERT_PATH, value: {{ include "beacon.caFile" . }}}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "beacon.trustMounts" -}}
{{- $values := .root.Values -}}
{{- if include "beacon.hasCa" . }}
- {name: ca, mountPath: /etc/beacon-ca, readOnly: true}
{{- end }}
{{- if and .reads ($values.signatures | default dict).configMap }}
- {name: model-keys, mountPath: /etc/beacon-model-keys, readOnly: true}
{{- end }}
{{- if and .signs $values.signatures.secret.name }}
- {name: model-signing, mountPath: /etc/beacon-model-signing, readOnly: true}
{{- end }}
{{- end -}}

{{- define "beacon.trustVolumes" -}}
{{- $values := .root.Values -}}
{{- if include "beacon.hasCa" . }}
- {name: ca, configMap: {name: {{ $values.tls.ca.configMap }}, items: [{key: {{ $values.tls.ca.key | toJson }}, path: {{ $values.tls.ca.key | toJson }}}]}}
{{- end }}
{{- if and .reads ($values.signatures | default dict).configMap }}
- {name: model-keys, configMap: {name: {{ $values.signatures.configMap }}, items: [{key: {{ $values.signatures.key | toJson }}, path: {{ $values.signatures.key | toJson }}}]}}
{{- end }}
{{- if and .signs $values.signatures.secret.name }}
- name: model-signing
  secret: {secretName: {{ $values.signatures.secret.name }}, defaultMode: 0440, items: [{key: {{ $values.signatures.secret.key | toJson }}, path: {{ $values.signatures.secret.key | toJson }}}]}
{{- end }}
{{- end -}}

{{/* A server's own certificate: a Secret of the type kubernetes.io/tls. `secret`: its name. Group-readable, as PostgreSQL wants it. */}}
{{- define "beacon.tlsMount" -}}
{name: tls, mountPath: /etc/beacon-tls, readOnly: true}
{{- end -}}

{{- define "beacon.tlsVolume" -}}
{name: tls, secret: {secretName: {{ .secret }}, defaultMode: 0440}}
{{- end -}}
