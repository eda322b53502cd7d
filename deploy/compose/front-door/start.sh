#!/bin/sh
# Runs the command with SITE as the front door serves it in its container: the address that people
# type, without its port. Caddy listens on 80 and 443 here; which ports of the host lead there is
# HTTP_PORT's and HTTPS_PORT's business, and an address with another port would lead nowhere.
set -eu
site=${SITE%/}
port=${site##*:}
case $port in
"" | *[!0-9]*) port= ;;
*) site=${site%:"$port"} ;;
esac
case $site in
http://*) setting=HTTP_PORT given=${HTTP_PORT:-80} ;;
https://*) setting=HTTPS_PORT given=${HTTPS_PORT:-443} ;;
*)
	echo "PUBLIC_URL=$SITE is no address of a site: it begins with http:// or https://." >&2
	exit 2
	;;
esac
if [ -n "$port" ] && [ "$port" != "${given##*:}" ]; then
	echo "PUBLIC_URL=$SITE names port $port and $setting is $given: nobody would answer there." \
		"Say $setting=$port in .env, or the address without its port." >&2
	exit 2
fi
SITE=$site exec "$@"
