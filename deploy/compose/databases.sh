# What backup.sh and restore.sh share; they read it in this folder. By itself it does nothing.

services="identity cards shop activities notifications network"

# In the container of PostgreSQL, as its administrator: a script, then its arguments.
in_postgresql() {
	script=$1
	shift
	docker compose exec -T postgresql sh -c \
		"export PGPASSWORD=\$(cat /run/secrets/store-admin) PGHOST=127.0.0.1 PGUSER=postgres; $script" sh "$@"
}

# One of the two scripts at a time: one would let services go on under the other. The kernel frees
# this with the last process that came of it, however that ends.
exec 9<.
flock --nonblock 9 || {
	echo "backup.sh or restore.sh is at work here. Nothing was changed; try again when it has ended." >&2
	exit 1
}
