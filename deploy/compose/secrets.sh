#!/bin/sh
# Makes the secrets of an installation, once: one file each in the folder (deploy/compose/secrets if
# none is named). What is there stays as it is. E-mail of the first administrator: ADMIN_EMAIL.
#
# Nobody but the owner may enter the folder; the files themselves can be read by all, because a
# container sees a file alone, and each image runs as another user.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"

word() { head -c "$1" /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_'; }

new() {
	[ -e "$folder/$1" ] || {
		printf '%s\n' "$2" >"$folder/$1.draft"
		chmod 444 "$folder/$1.draft"
		mv "$folder/$1.draft" "$folder/$1"
	}
}

for name in kafka-admin kafka-controller store-admin grafana-admin sealing-key; do
	new "$name" "$(word 24)"
done
for service in identity cards shop activities notifications network; do
	new "kafka-$service" "$(word 24)"
	new "store-$service" "$(word 24)"
done
new first-admin.json "{\"email\": \"${ADMIN_EMAIL:-amministrazione@vicinato.example}\", \"password\": \"$(word 18)\"}"
new smtp ""
echo "Secrets are in $folder; the first administrator's sign-in is in first-admin.json there."
