{{/*
The arrows of one component: who may open a connection to it is a pod that says so (reach.beacon/NAME), whoever the
values name, and a scraper to its metrics; it opens connections to what it `reaches`, and asks DNS. Nothing else.
`issuer`: the address of who gives out its people's or clients' tokens, which has to be reached; `metrics`: the metrics' port; `public`: an ingress controller may come; `api`: it asks HTTPS servers, such as the Kubernetes API or Kaggle.
*/}}
{{- define "beacon.networkPolicy" -}}
{{- $ports := include "beacon.ports" . | fromYaml -}}
{{- $own := index $ports .name -}}
{{- with .root.Values.networkPolicy }}
{{- if .enabled }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{- include "beacon.metadata" $ | nindent 2 }}
spec:
  podSelector:
    matchLabels: {{- include "beacon.component" $ | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- if $own }}
    - from:
        - podSelector: {matchLabels: {reach.beacon/{{ $.name }}: "true", app.kubernetes.io/part-of: beacon}}
        {{- if $.public }}
        {{- range .ingressNamespaces }}
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ . }}}}
        {{- end }}
        {{- end }}
        {{- with .clients }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports: [{port: {{ $own }}}]
    {{- end }}
    {{- if $.metrics }}
    - from:
        - podSelector: {matchLabels: {reach.beacon/{{ $.name }}-metrics: "true", app.kubernetes.io/part-of: beacon}}
        {{- with .scrapers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports: [{port: {{ $.metrics }}}]
    {{- end }}
  egress:
    - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
    {{- range $.reaches }}
    - to: [{podSelector: {matchLabels: {app.kubernetes.io/name: {{ trimSuffix "-metrics" . }}, app.kubernetes.io/part-of: beacon}}}]
      ports: [{port: {{ index $ports . }}}]
    {{- end }}
    {{- if $.api }}
    - ports: [{port: 443}, {port: 6443}]
    {{- end }}
    {{- with $.issuer }}
    - ports: [{port: {{ include "beacon.portOf" . }}}]
    {{- end }}
    {{- with .egress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}
{{- end -}}
