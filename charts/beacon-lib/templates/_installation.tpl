{{/*
The installation: one product with what serves it, by one name, with which the name of everything begins. It follows from the
release's: `beacon` gives `beacon`, `housing` gives `housing-beacon`, and so does the release `housing-beacon-inference` of the
chart inference alone. `global.fullnameOverride` wins. Labels have it too (part-of), so that selectors and network policies of
one installation never choose a pod of another. `global.nameOverride` is another word for `beacon`: `demand` with `shop` gives
`demand-shop`.
*/}}
{{- define "beacon.installation" -}}
{{- $global := .Values.global | default dict -}}
{{- $word := $global.nameOverride | default "beacon" -}}
{{- $release := .Release.Name -}}
{{- if and .Chart.IsRoot (ne .Chart.Name "beacon") -}}
{{- $release = ternary $word (trimSuffix (printf "-%s" .Chart.Name) $release) (eq $release .Chart.Name) -}}
{{- end -}}
{{- $own := ternary $release (printf "%s-%s" $release $word) (contains $word $release) -}}
{{- $name := $global.fullnameOverride | default $own -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]{0,26}[a-z0-9])?$" $name) -}}
{{- fail (printf "global.fullnameOverride: name the installation by at most 28 of a-z, 0-9 and -, beginning with a letter; %s is none, and names of Jobs would be too long" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* Whose bundled PostgreSQL, Redis and MLflow are used: those of another installation, or its own. */}}
{{- define "beacon.platform" -}}
{{- ((.Values.global | default dict).platform | default dict).name | default (include "beacon.installation" .) -}}
{{- end -}}

{{/* The namespace of another installation's stores, where that is another than the release's. */}}
{{- define "beacon.platformNamespace" -}}
{{- $given := ((.Values.global | default dict).platform | default dict).namespace | default "" -}}
{{- ternary "" $given (eq $given .Release.Namespace) -}}
{{- end -}}

{{/* The host of a store. `root`, `name`. */}}
{{- define "beacon.storeHost" -}}
{{- include "beacon.platform" .root }}-{{ .name }}{{ with include "beacon.platformNamespace" .root }}.{{ . }}{{ end -}}
{{- end -}}

{{/* What the names in values stand for: $(name) is the installation, $(role) the same for PostgreSQL, the others hosts. */}}
{{- define "beacon.standsFor" -}}
{{- $name := include "beacon.installation" . -}}
{{- $found := dict "name" $name "role" ($name | replace "-" "_") "platform" (include "beacon.platform" .) -}}
{{- range $store := list "postgresql" "redis" "mlflow" -}}
{{- $_ := set $found $store (include "beacon.storeHost" (dict "root" $ "name" $store)) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- define "beacon.spelled" -}}
{{- $text := .text -}}
{{- range $name, $value := .names -}}{{- $text = replace (printf "$(%s)" $name) $value $text -}}{{- end -}}
{{- $text -}}
{{- end -}}

{{/* Spells the names out in every text of a map of values, in place. `at`, `names`; `but`: keys that are left as they are. */}}
{{- define "beacon.spell" -}}
{{- $at := .at -}}
{{- $names := .names -}}
{{- $but := .but | default list -}}
{{- range $key, $value := $at -}}
{{- if has $key $but -}}
{{- else if kindIs "map" $value -}}
{{- include "beacon.spell" (dict "at" $value "names" $names) -}}
{{- else if kindIs "slice" $value -}}
{{- if contains "$(" (toJson $value) -}}
{{- $_ := set $at $key (include "beacon.spelled" (dict "text" (toJson $value) "names" $names) | fromJsonArray) -}}
{{- end -}}
{{- else if and (kindIs "string" $value) (contains "$(" $value) -}}
{{- $_ := set $at $key (include "beacon.spelled" (dict "text" $value "names" $names)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Makes a chart's values ready, once and in place, before any template reads them: each template begins with it. Names are spelled
out, and what is managed elsewhere comes from `global` (_managed.tpl). The product's text is left as it is.
*/}}
{{- define "beacon.ready" -}}
{{- if not (hasKey .Values "isReady") -}}
{{- $_ := set .Values "isReady" true -}}
{{- $names := include "beacon.standsFor" . | fromJson -}}
{{- include "beacon.managed" . -}}
{{- include "beacon.spell" (dict "at" .Values "names" $names "but" (list "global" "product" "beacon-lib")) -}}
{{- with (.Values.product | default dict).data -}}
{{- include "beacon.spell" (dict "at" . "names" $names "but" (list "content")) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The setting that tells a program which installation it is part of; without it, it is `beacon`. */}}
{{- define "beacon.installationEnv" -}}
{{- $name := include "beacon.installation" .root -}}
{{- if ne $name "beacon" -}}
- {name: BEACON_INSTALLATION, value: {{ $name }}}
{{- end -}}
{{- end -}}
