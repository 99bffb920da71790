{{/*
The product: no image holds one. The text of its two files is in the values, and becomes a ConfigMap of the chart. A pod whose
template has `product` mounts it, and is replaced when it changes; `data`: the product's data files are mounted beside it, too.
*/}}
{{- define "beacon.product" -}}
{{- $product := .root.Values.product -}}
apiVersion: v1
kind: ConfigMap
metadata: {{- include "beacon.metadata" (dict "root" .root "name" .root.Chart.Name "suffix" "product") | nindent 2 }}
data:
  product.yaml: {{ required "product.spec: the text of product.yaml (--set-file product.spec=FILE)" $product.spec | toJson }}
  {{- with $product.policy }}
  policy.yaml: {{ toJson . }}
  {{- end }}
{{- end -}}

{{- define "beacon.productMount" -}}
{name: product, mountPath: /etc/beacon-product, readOnly: true}
{{- end -}}

{{- define "beacon.productEnv" -}}
{name: BEACON_PRODUCT, value: /etc/beacon-product/product.yaml}
{{- end -}}

{{- define "beacon.productVolume" -}}
name: product
projected:
  sources:
    - configMap: {name: beacon-{{ .root.Chart.Name }}-product}
    {{- if .data }}
    {{- with .root.Values.product.data }}
    {{- if .files }}
    - configMap:
        name: {{ .configMap }}
        optional: true
        items:
          {{- range $key, $path := .files }}
          - {key: {{ $key | toJson }}, path: {{ $path | toJson }}}
          {{- end }}
    {{- end }}
    {{- end }}
    {{- end }}
{{- end -}}

{{/* Whether the product has an entity, by whose key features are looked up; empty: it has none. */}}
{{- define "beacon.hasEntity" -}}
{{- $entity := (.Values.product.spec | fromYaml).entity | default "none" -}}
{{- if ne (toString $entity) "none" }}true{{ end -}}
{{- end -}}

{{/* Without an entity there are no features to look up: such a chart is refused. A missing product is told by beacon.product. */}}
{{- define "beacon.requireEntity" -}}
{{- if and .Values.product.spec (not (include "beacon.hasEntity" .)) }}
{{- fail "product.spec: the product has no entity, so it has no features to look up: leave this chart out" }}
{{- end -}}
{{- end -}}

{{/* The name of the product, and so of its registered model. */}}
{{- define "beacon.productName" -}}
{{- (.root.Values.product.spec | fromYaml).name | default "" -}}
{{- end -}}
