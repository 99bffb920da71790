{{/*
What is managed elsewhere, said once for every chart of a release in `global`, and put into each chart's values: a database, Redis,
MLflow, the authorities that sign their certificates. What `global` says wins over a chart's own values; what it leaves empty
stays. A store of another place is not installed.
*/}}
{{- define "beacon.managed" -}}
{{- $values := .Values -}}
{{- $global := $values.global | default dict -}}
{{- include "beacon.managedDatabase" . -}}
{{- include "beacon.managedRedis" . -}}
{{- include "beacon.managedMlflow" . -}}
{{- include "beacon.managedFiles" . -}}
{{- with ($global.tls | default dict).ca -}}
{{- if and .configMap $values.tls -}}
{{- $_ := set $values.tls "ca" (merge (dict) . $values.tls.ca) -}}
{{- end -}}
{{- end -}}
{{- if and (hasKey $values "postgresql") (ne (include "beacon.platform" .) (include "beacon.installation" .)) -}}
{{- range $store := list "postgresql" "redis" "mlflow" -}}
{{- $_ := set (index $values $store) "enabled" false -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Puts what `given` says of `names` into `at`. */}}
{{- define "beacon.put" -}}
{{- range $name := .names -}}
{{- with index $.given $name -}}{{- $_ := set $.at $name . -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "beacon.managedDatabase" -}}
{{- $values := .Values -}}
{{- $given := ($values.global | default dict).database | default dict -}}
{{- if $given.host -}}
{{- $login := $given.user | default "" -}}
{{- $options := compact (list $given.options (ternary "prepare_threshold=none" "" (eq (toString $given.pooled) "true"))) | join "&" -}}
{{- with $values.database -}}
{{- include "beacon.put" (dict "at" . "given" (merge (dict "options" $options) $given) "names" (list "host" "port" "name" "options" "passwordFile")) -}}
{{- if $login -}}
{{- range $one := compact (list . .owner .retention) -}}
{{- $_ := set $one "user" $login -}}
{{- $_ := set $one "secret" (dict "name" $given.secret.name "key" ($given.secret.key | default "password")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $given.tls $values.tls (hasKey ($values.tls | default dict) "database") -}}
{{- $_ := set $values.tls "database" true -}}
{{- end -}}
{{- if hasKey $values "postgresql" -}}
{{- $_ := set $values.postgresql "enabled" false -}}
{{- $host := $given.directHost | default $given.host -}}
{{- $port := ternary $given.directPort ($given.port | default 5432) (not (empty $given.directPort)) -}}
{{- $passfile := ternary (printf "passfile=%s" $given.mlflowPassfile) "" (not (empty $given.mlflowPassfile)) -}}
{{- $direct := compact (list $given.options $passfile) | join "&" -}}
{{- $_ := set $values.mlflow "database" (printf "postgresql+psycopg://%s@%s:%v/%s%s" ($login | default "$(role)_mlflow") $host $port ($given.mlflowName | default "mlflow") (ternary (printf "?%s" $direct) "" (not (empty $direct)))) -}}
{{- /* Backups go past a pooler, too: pg_dump is one long transaction, and knows no options but libpq's. */ -}}
{{- include "beacon.put" (dict "at" $values.database "given" (dict "host" $host "port" $port) "names" (list "host" "port")) -}}
{{- $_ := set $values.database "options" ($given.options | default "") -}}
{{- if $login -}}
{{- $_ := set $values.mlflow "secret" (dict "name" $given.secret.name "key" ($given.secret.key | default "password")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "beacon.managedRedis" -}}
{{- $values := .Values -}}
{{- $given := ($values.global | default dict).redis | default dict -}}
{{- if or $given.host $given.nodes -}}
{{- if hasKey $values "postgresql" -}}
{{- $_ := set $values.redis "enabled" false -}}
{{- else if hasKey $values "redis" -}}
{{- include "beacon.put" (dict "at" $values.redis "given" $given "names" (list "host" "port" "options" "type" "nodes" "sentinelMaster")) -}}
{{- if ($given.secret | default dict).name -}}
{{- $_ := set $values.redis "secret" (merge (dict) $given.secret $values.redis.secret) -}}
{{- end -}}
{{- if $given.tls -}}{{- $_ := set $values.tls "redis" true -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* MLflow asks for a user and a password, for a token, or for nothing. */}}
{{- define "beacon.managedMlflow" -}}
{{- $values := .Values -}}
{{- $given := ($values.global | default dict).mlflow | default dict -}}
{{- if $given.url -}}
{{- if hasKey $values "mlflow" -}}
{{- $_ := set $values.mlflow "enabled" false -}}
{{- end -}}
{{- if hasKey $values "mlflowUrl" -}}{{- $_ := set $values "mlflowUrl" $given.url -}}{{- end -}}
{{- if $values.prober -}}{{- $_ := set $values.prober "mlflowUrl" $given.url -}}{{- end -}}
{{- if and (hasPrefix "https://" $given.url) (hasKey ($values.tls | default dict) "mlflow") -}}
{{- $_ := set $values.tls "mlflow" true -}}
{{- end -}}
{{- $token := $given.token | default dict -}}
{{- with $values.mlflowLogin -}}
{{- if $token.name -}}
{{- $_ := set . "token" (dict "name" $token.name "key" ($token.key | default "token")) -}}
{{- else if eq (toString $given.login) "false" -}}
{{- $_ := set .secret "name" "" -}}
{{- end -}}
{{- end -}}
{{- with $values.inferencePods -}}
{{- $login := .mlflowLogin -}}
{{- if $token.name -}}
{{- $_ := set . "secrets" (append (without .secrets (dict "name" $login.name "key" $login.key)) (dict "name" $token.name "key" ($token.key | default "token"))) -}}
{{- $_ := set . "mlflowLogin" (dict "name" $token.name "key" ($token.key | default "token")) -}}
{{- else if eq (toString $given.login) "false" -}}
{{- $_ := set . "secrets" (without .secrets (dict "name" $login.name "key" $login.key)) -}}
{{- $_ := set . "mlflowLogin" (dict "name" "" "key" "") -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
