# Brings the dumps of the folder WORK into the databases, each in one transaction: it is the old one or the new one.
# REPLACE=true: also into databases with rows. By psql and pg_restore of the server's version or a later one.
set -eu
of_owner() { # the password: a token's file is read each time
  if [ "${PASSWORD_FILE:-}" ]; then cat "$PASSWORD_FILE"; else printf %s "$owner_password"; fi
}
[ "${PASSWORD_FILE:-}" ] || owner_password=$PGPASSWORD
[ ! -f "$WORK/again" ] || REPLACE=true # an earlier try of this restore was broken off
each() { # COMMAND: run it with the name of each dump, a table that tells whether the database is in use, and its address
  if [ -f "$WORK/beacon.dump" ]; then
    PGPASSWORD=$(of_owner) && export PGPASSWORD
    "$1" beacon predictions "$BEACON_DATABASE"
  fi
  if [ -f "$WORK/mlflow.dump" ]; then
    export PGPASSWORD="${MLFLOW_PASSWORD:-}" # none: the address names libpq's own file
    "$1" mlflow model_versions "$MLFLOW_DATABASE"
  fi
}
ask() { # ADDRESS QUERY
  psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname="$1" --command="$2"
}
wait_for() { # a server that has just been installed makes its roles first
  for _ in $(seq 300); do
    ! ask "$3" "SELECT" 2>/dev/null || return 0
    sleep 1
  done
  ask "$3" "SELECT"
}
check_empty() {
  there=$(ask "$3" "SELECT to_regclass('$2') IS NOT NULL")
  [ "$there" = t ] || return 0
  used=$(ask "$3" "SELECT EXISTS (SELECT FROM $2)")
  [ "$used" = t ] || return 0
  echo "the database of $1 is not empty: $2 has rows. Restore into an empty one, or set backup.restore.replace" >&2
  exit 1
}
bring_back() {
  cat >"$WORK/$1.sql" <<'END'
DO $clear$ DECLARE statement text; BEGIN
  FOR statement IN SELECT format('DROP TABLE IF EXISTS %s CASCADE', oid::regclass) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') LOOP EXECUTE statement; END LOOP;
  FOR statement IN SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', oid::regprocedure) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proowner = current_user::regrole LOOP EXECUTE statement; END LOOP;
END $clear$;
END
  pg_restore --no-owner --file="$WORK/$1.tables" "$WORK/$1.dump"
  cat "$WORK/$1.tables" >>"$WORK/$1.sql"
  rm "$WORK/$1.tables"
  # A server that starts meanwhile, as MLflow does, may make its tables again between two statements: then once more.
  for left in 2 1 0; do
    ! psql --no-psqlrc --quiet --output=/dev/null --set=ON_ERROR_STOP=1 --single-transaction --dbname="$3" --file="$WORK/$1.sql" || break
    [ "$left" != 0 ] || exit 1
    sleep 5
  done
  rm "$WORK/$1.sql"
  echo "restored $1"
}
each wait_for
[ "${REPLACE:-}" = true ] || each check_empty
each bring_back
