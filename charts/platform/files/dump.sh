# Dumps the databases into the folder WORK. A dump that failed is no file there, and the backup, which comes after, records that.
set -u
of_owner() { # the password: a token's file is read each time
  if [ "${PASSWORD_FILE:-}" ]; then cat "$PASSWORD_FILE"; else printf %s "$PGPASSWORD"; fi
}
dump() { # NAME PASSWORD ADDRESS
  [ "$3" ] || return 0
  PGPASSWORD=$2 pg_dump --format=custom --lock-wait-timeout=60000 --dbname="$3" --file="$WORK/$1.part" &&
    mv "$WORK/$1.part" "$WORK/$1.dump" && echo "dumped $1: $(wc -c <"$WORK/$1.dump") bytes"
}
dump beacon "$(of_owner)" "$BEACON_DATABASE"
dump mlflow "${MLFLOW_PASSWORD:-}" "${MLFLOW_DATABASE:-}"
exit 0
