{{/*
The product: no image holds one. The text of its two files is in the values, and becomes a ConfigMap of the chart. A pod whose
template has `product` mounts it, and is replaced when it changes; `data`: the product's data files are mounted beside it, too.
Charts that are installed together take it from `global.product`, unless their own values have one.
*/}}
{{/* As JSON: YAML would lose the last line break of a text. */}}
{{- define "beacon.globalProduct" -}}
{{- toJson ((.Values.global | default dict).product | default dict) -}}
{{- end -}}

{{- define "beacon.productSpec" -}}
{{- .Values.product.spec | default (include "beacon.globalProduct" . | fromJson).spec | default "" -}}
{{- end -}}

{{- define "beacon.productPolicy" -}}
{{- .Values.product.policy | default (include "beacon.globalProduct" . | fromJson).policy | default "" -}}
{{- end -}}

{{- define "beacon.product" -}}
apiVersion: v1
kind: ConfigMap
metadata: {{- include "beacon.metadata" (dict "root" .root "name" .root.Chart.Name "suffix" "product") | nindent 2 }}
data:
  product.yaml: {{ required "product.spec: the text of product.yaml (--set-file product.spec=FILE)" (include "beacon.productSpec" .root) | toJson }}
  {{- with include "beacon.productPolicy" .root }}
  policy.yaml: {{ toJson . }}
  {{- end }}
{{- end -}}

{{/* Data files that are in the values themselves: what is small enough for a release. Path beside product.yaml -> base64. */}}
{{- define "beacon.productContent" -}}
{{- toYaml (.Values.product.data.content | default (include "beacon.globalProduct" . | fromJson).data | default dict) -}}
{{- end -}}

{{- define "beacon.productData" -}}
{{- with include "beacon.productContent" .root | fromYaml -}}
apiVersion: v1
kind: ConfigMap
metadata: {{- include "beacon.metadata" (dict "root" $.root "name" $.root.Chart.Name "suffix" "data") | nindent 2 }}
binaryData:
  {{- range $path, $content := . }}
  data-{{ sha256sum $path | trunc 12 }}: {{ $content }}
  {{- end }}
{{- end -}}
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
    - configMap: {name: {{ include "beacon.installation" .root }}-{{ .root.Chart.Name }}-product}
    {{- if .data }}
    {{- with include "beacon.productContent" .root | fromYaml }}
    - configMap:
        name: {{ include "beacon.installation" $.root }}-{{ $.root.Chart.Name }}-data
        items:
          {{- range $path, $_ := . }}
          - {key: data-{{ sha256sum $path | trunc 12 }}, path: {{ $path | toJson }}}
          {{- end }}
    {{- end }}
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
{{- $entity := (include "beacon.productSpec" . | fromYaml).entity | default "none" -}}
{{- if ne (toString $entity) "none" }}true{{ end -}}
{{- end -}}

{{/* Without an entity there are no features to look up: such a chart is refused. A missing product is told by beacon.product. */}}
{{- define "beacon.requireEntity" -}}
{{- if and (include "beacon.productSpec" .) (not (include "beacon.hasEntity" .)) }}
{{- fail "product.spec: the product has no entity, so it has no features to look up: leave this chart out" }}
{{- end -}}
{{- end -}}

{{/* The name of the product, and so of its registered model. */}}
{{- define "beacon.productName" -}}
{{- (include "beacon.productSpec" .root | fromYaml).name | default "" -}}
{{- end -}}
