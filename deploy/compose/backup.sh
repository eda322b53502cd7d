#!/bin/sh
# Saves the six databases as of one moment:  sh backup.sh /mnt/usb
#
# The services stand still meanwhile: with nobody writing and nobody hearing, no database has settled
# a fact that its teller's does not have. Whoever asks waits. It makes one folder, readable by its
# owner only; what is there under another name than `vicinato-DATE` is no backup. How it is put back:
# restore.sh. docs/runbooks/containers.md.
set -eu
umask 077
[ $# -eq 1 ] && [ -d "$1" ] || {
	echo "sh backup.sh FOLDER: a folder that is there, on another disk." >&2
	exit 2
}
target=$(cd "$1" && pwd)/vicinato-$(date -u +%Y-%m-%d-%H%M%S)
cd "$(dirname "$0")"
. ./databases.sh
rm -rf "${target%/*}"/vicinato-*.part # of one that was killed

at_work=$(docker compose ps --services --status running $services)
go_on() {
	left=0
	for service in $at_work; do
		docker compose unpause "$service" || left=1 # or it was not paused yet
	done
	return $left
}
break_off() {
	trap '' HUP INT TERM
	rm -rf "$target.part" || :
	go_on || :
}

mkdir "$target.part"
trap 'exit 1' HUP INT TERM
trap break_off EXIT
[ -z "$at_work" ] || docker compose pause $at_work
date -u +%Y-%m-%dT%H:%M:%S >"$target.part/taken-at"
for service in $services; do
	in_postgresql 'exec pg_dump --format=custom --no-owner --no-privileges --dbname="$1"' \
		"vicinato_$service" </dev/null >"$target.part/$service.pgdump"
done
(cd "$target.part" && sha256sum taken-at *.pgdump >sums)
sync
mv "$target.part" "$target"
go_on
trap - EXIT

# What a restore put aside holds personal data that an erasure does not reach: it goes after a week.
# What one that was killed had made ready goes at once; none is at work.
in_postgresql 'exec psql --quiet --set=ON_ERROR_STOP=1' <<'END'
SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database
WHERE datname ~ '^vicinato_[a-z]+_restoring$'
OR datname ~ '^vicinato_[a-z]+_aside_[0-9]{14}$'
AND right(datname, 14) < to_char(now() AT TIME ZONE 'UTC' - interval '7 days', 'YYYYMMDDHH24MISS')
\gexec
END
echo "$target: $(du -sh "$target" | cut -f1). It holds personal data and no passwords."
