{{/*
An HTTPRoute (Gateway API) to a component. TLS is the Gateway's: `sectionName` names its listener. What comes to the listener
`redirectFrom` is sent on to https. `gateway`: the values; `paths`: prefixes; `backends`: Services with weights, else the component's own.
*/}}
{{- define "beacon.httpRoute" -}}
{{- $gateway := .gateway -}}
{{- if $gateway.enabled -}}
{{- $parent := dict "name" (required "gateway.name: of the Gateway" $gateway.name) "namespace" ($gateway.namespace | default .root.Release.Namespace) -}}
{{- $matches := list -}}
{{- range .paths -}}
{{- $matches = append $matches (dict "path" (dict "type" "PathPrefix" "value" .)) -}}
{{- end -}}
{{- $timeouts := dict -}}
{{- range $name := list "request" "backendRequest" -}}
{{- with index $gateway.timeouts $name -}}{{- $_ := set $timeouts $name . -}}{{- end -}}
{{- end -}}
{{- $own := list (dict "name" (include "beacon.fullname" .) "port" (include "beacon.port" . | int)) -}}
{{- $rule := dict "matches" $matches "backendRefs" (.backends | default $own) -}}
{{- if $timeouts -}}{{- $_ := set $rule "timeouts" $timeouts -}}{{- end -}}
{{ include "beacon.oneRoute" (merge (dict "parent" (ternary (set (deepCopy $parent) "sectionName" $gateway.sectionName) $parent (not (empty $gateway.sectionName))) "rule" $rule) .) }}
{{- with $gateway.redirectFrom }}
---
{{ include "beacon.oneRoute" (merge (dict "suffix" "to-https" "parent" (set (deepCopy $parent) "sectionName" .) "rule" (dict "matches" $matches "filters" (list (dict "type" "RequestRedirect" "requestRedirect" (dict "scheme" "https" "statusCode" 301))))) $) }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "beacon.oneRoute" -}}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  {{- include "beacon.metadata" . | nindent 2 }}
  {{- with .gateway.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  parentRefs: {{- toYaml (list .parent) | nindent 4 }}
  {{- with .gateway.hosts }}
  hostnames: {{- toYaml . | nindent 4 }}
  {{- end }}
  rules: {{- toYaml (list .rule) | nindent 4 }}
{{- end -}}
