{{/*
The arrows of one component: who may open a connection to it is a pod that says so (reach.beacon/NAME), whoever the
values name, and a scraper to its metrics; it opens connections to what it `reaches`, and asks DNS. Nothing else.
On a Spark elsewhere (_engine.tpl), its workers reach the driver, and the driver them.
`issuer`: the address of who gives out its people's or clients' tokens, which has to be reached; `metrics`: the metrics' port; `public`: an
ingress controller may come; `api`: it asks the Kubernetes API; `https`: it asks servers outside by HTTPS, such as Kaggle; `kafka`: it
writes to the log's topic or reads it; `hook`: the policy is one of a hook, comes before its pod and goes with it.
*/}}
{{/* Everywhere but the addresses at which clouds give instances their credentials; by IPv4, as IPv6 is named by values. */}}
{{- define "beacon.anywhere" -}}
- ipBlock: {cidr: 0.0.0.0/0, except: [169.254.169.254/32, 169.254.170.2/32, 169.254.170.23/32, 100.100.100.200/32]}
{{- end -}}

{{- define "beacon.cidrs" -}}
{{- range . }}
- ipBlock: {cidr: {{ . | quote }}}
{{- end }}
{{- end -}}

{{/*
How the stores that several installations can share are reached: a rule for each. In this namespace or in that of another
installation, or outside, at the addresses of `global.NAME.cidrs` or anywhere.
*/}}
{{- define "beacon.stores" -}}
{{- $ports := include "beacon.ports" . | fromYaml -}}
{{- $global := .Values.global | default dict -}}
{{- $found := dict -}}
{{- range $name, $key := dict "postgresql" "database" "redis" "redis" "mlflow" "mlflow" -}}
{{- $given := index $global $key | default dict -}}
{{- $host := ternary ($given.url | default "") ($given.host | default "") (eq $name "mlflow") -}}
{{- if or $host $given.nodes -}}
{{- $port := toString ($given.port | default (index $ports $name)) -}}
{{- if eq $name "mlflow" -}}{{- $port = include "beacon.portOf" $host -}}{{- end -}}
{{- $all := list -}}
{{- range $node := $given.nodes -}}{{- $all = append $all (dict "port" (splitList ":" $node | last | int)) -}}{{- end -}}
{{- $all = $all | default (list (dict "port" (int $port))) -}}
{{- range $given.ports -}}{{- $all = append $all (dict "port" (int .)) -}}{{- end -}}
{{- $all = uniq $all -}}
{{- if and $given.directPort (ne (int $given.directPort) (int $port)) -}}{{- $all = append $all (dict "port" (int $given.directPort)) -}}{{- end -}}
{{- $to := ternary (include "beacon.cidrs" $given.cidrs | fromYamlArray) (include "beacon.anywhere" $ | fromYamlArray) (not (empty $given.cidrs)) -}}
{{- $_ := set $found $name (dict "to" $to "ports" $all) -}}
{{- else -}}
{{- $peer := dict "podSelector" (dict "matchLabels" (dict "app.kubernetes.io/name" $name "app.kubernetes.io/part-of" (include "beacon.platform" $))) -}}
{{- with include "beacon.platformNamespace" $ -}}
{{- $_ := set $peer "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .)) -}}
{{- end -}}
{{- $_ := set $found $name (dict "to" (list $peer) "ports" (list (dict "port" (index $ports $name)))) -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- define "beacon.networkPolicy" -}}
{{- $ports := include "beacon.ports" . | fromYaml -}}
{{- $own := index $ports .name -}}
{{- $besides := include "beacon.besides" . | fromYaml -}}
{{- $installation := include "beacon.installation" .root -}}
{{- $stores := include "beacon.stores" .root | fromJson -}}
{{- $products := ternary (.root.Values.products | default list) list (hasKey $stores .name) -}}
{{- with .root.Values.networkPolicy }}
{{- if .enabled }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "beacon.metadata" $ | nindent 2 }}
  {{- with $.hook }}
  annotations:
    helm.sh/hook: {{ . }}
    helm.sh/hook-weight: "-5"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
  {{- end }}
spec:
  podSelector:
    matchLabels: {{- include "beacon.component" $ | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- if $own }}
    - from:
        - podSelector: {matchLabels: {reach.beacon/{{ $.name }}: "true", app.kubernetes.io/part-of: {{ $installation }}}}
        {{- if $.public }}
        {{- range .ingressNamespaces }}
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ . }}}}
        {{- end }}
        {{- end }}
        {{- range $products }}
        - podSelector: {matchLabels: {reach.beacon/{{ $.name }}: "true", app.kubernetes.io/part-of: {{ .name }}}}
          {{- with .namespace }}
          namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ . }}}}
          {{- end }}
        {{- end }}
        {{- with .clients }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports: [{port: {{ $own }}}]
    {{- end }}
    {{- if $.metrics }}
    - from:
        - podSelector: {matchLabels: {reach.beacon/{{ $.name }}-metrics: "true", app.kubernetes.io/part-of: {{ $installation }}}}
        {{- with .scrapers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports: [{port: {{ $.metrics }}}]
    {{- end }}
    {{- with include "beacon.sparkPeers" $ }}
    - from: {{- . | nindent 8 }}
      ports:
        {{- range include "beacon.sparkPorts" $ | fromYaml }}
        - port: {{ . }}
        {{- end }}
    {{- end }}
    {{- $scrapers := .scrapers }}
    {{- range $beside, $component := $besides }}
    {{- if eq $component $.name }}
    - from:
        - podSelector: {matchLabels: {reach.beacon/{{ $beside }}: "true", app.kubernetes.io/part-of: {{ $installation }}}}
        {{- with $scrapers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports: [{port: {{ index $ports $beside }}}]
    {{- end }}
    {{- end }}
  egress:
    - to:
        {{- with .dns }}
        {{- toYaml . | nindent 8 }}
        {{- else }}
        - namespaceSelector: {}
        {{- include "beacon.anywhere" $ | nindent 8 }}
        {{- end }}
      ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
    {{- range $.reaches }}
    {{- if hasKey $stores . }}
    - {{- index $stores . | toYaml | nindent 6 }}
    {{- else }}
    - to: [{podSelector: {matchLabels: {app.kubernetes.io/name: {{ get $besides . | default (trimSuffix "-metrics" .) }}, app.kubernetes.io/part-of: {{ $installation }}}}}]
      ports: [{port: {{ index $ports . }}}]
    {{- end }}
    {{- end }}
    {{- with include "beacon.sparkPeers" $ }}
    - to: {{- . | nindent 8 }}
    {{- end }}
    {{- if or $.api (include "beacon.sparkAsksApi" $) }}
    - ports: [{port: 443}, {port: 6443}]
      {{- with .apiServer }}
      to: {{- include "beacon.cidrs" . | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- if or $.https (include "beacon.usesS3" $) }}
    - ports: [{port: 443}]
      to:
        {{- with .https }}
        {{- include "beacon.cidrs" . | nindent 8 }}
        {{- else }}
        {{- include "beacon.anywhere" $ | nindent 8 }}
        {{- end }}
    {{- end }}
    {{- if include "beacon.usesS3" $ }}
    {{- include "beacon.s3Egress" $ | nindent 4 }}
    {{- end }}
    {{- if and $.kafka (not (hasSuffix "-migration" $.name)) }}
    {{- include "beacon.kafkaEgress" $ | nindent 4 }}
    {{- end }}
    {{- with $.issuer }}
    - ports: [{port: {{ include "beacon.portOf" . }}}]
      to: {{- include "beacon.anywhere" $ | nindent 8 }}
    {{- end }}
    {{- with .egress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}
{{- end -}}
