#!/bin/sh
# Puts a backup of backup.sh back:  sh restore.sh [--new-secrets] /mnt/usb/vicinato-DATE [SERVICE ...]
#
# All databases, or those of the services named. Each is made ready beside the old one, marked, and
# exchanged; the old ones lie aside. Then the services start, take back from the bus what they told
# after the backup, are verified and opened. --new-secrets: on a host with other secrets than those
# of the backup. docs/runbooks/containers.md.
set -eu
new_secrets=
[ "${1:-}" != --new-secrets ] || {
	new_secrets=--new-secrets
	shift
}
[ $# -ge 1 ] && [ -f "$1/sums" ] || {
	echo "sh restore.sh FOLDER: a folder that backup.sh has made." >&2
	exit 2
}
folder=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")"
. ./databases.sh
chosen=${*:-$services}
stamp=$(date -u +%Y%m%d%H%M%S)
(cd "$folder" && sha256sum --check --quiet sums)
only=
for service in $chosen; do
	[ -f "$folder/$service.pgdump" ] || {
		echo "There is no database of $service in $folder. Nothing was changed." >&2
		exit 2
	}
	only="$only --only $service"
done

docker compose stop $services
docker compose up -d --wait postgresql kafka
docker compose run --rm provision # on a new host roles and topics are made
# Until the exchange whatever ends this takes along what was made ready: it is personal data.
break_off() {
	trap '' HUP INT TERM
	for service in $chosen; do
		echo "DROP DATABASE IF EXISTS vicinato_${service}_restoring WITH (FORCE);"
	done | in_postgresql 'export PGOPTIONS=--client-min-messages=warning; exec psql --quiet' || :
	echo "It ended before its report, and the services stand still. docker compose up -d --wait" >&2
}
trap 'exit 1' HUP INT TERM
trap break_off EXIT
for service in $chosen; do
	in_postgresql 'export PGOPTIONS=--client-min-messages=warning
		exec psql --quiet --set=ON_ERROR_STOP=1 \
		--command="DROP DATABASE IF EXISTS $1_restoring WITH (FORCE)" \
		--command="CREATE DATABASE $1_restoring OWNER $1" \
		--command="REVOKE ALL ON DATABASE $1_restoring FROM PUBLIC"' "vicinato_$service" </dev/null
	in_postgresql 'exec pg_restore --no-owner --no-privileges --role="$1" --exit-on-error \
		--single-transaction --dbname="$1_restoring"' "vicinato_$service" <"$folder/$service.pgdump"
done
docker compose run --rm migrate \
	vicinato restored mark --staged --taken-at "$(cat "$folder/taken-at")" $only $new_secrets

echo "If this ends before its report, it goes on with these two:"
echo "docker compose up -d --wait"
echo "docker compose run --rm verify vicinato restored open"
# All of them or none.
for service in $chosen; do
	echo "ALTER DATABASE vicinato_$service RENAME TO vicinato_${service}_aside_$stamp;"
	echo "ALTER DATABASE vicinato_${service}_restoring RENAME TO vicinato_$service;"
done | in_postgresql 'exec psql --quiet --set=ON_ERROR_STOP=1 --single-transaction'
trap - EXIT HUP INT TERM
exec 9<&- # a backup may be taken again
echo "The old databases lie aside (vicinato_SERVICE_aside_$stamp)."

docker compose up -d --wait
docker compose run --rm verify vicinato restored open
