#!/bin/sh
# Installs everything from the lock files, in the checkout and in the user's cache folder: uv, the
# packages, Kafka's jars. Needs Python 3.11 or newer with its venv module, and a network once.
#
# Ends with 14 when Python is missing, too old or without venv, with 15 when there is no network.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}

sorry() {
	code=$1
	printf '%s\n%s\n' "$2" "$3" >&2
	exit "$code"
}

command -v "$python" >/dev/null 2>&1 || sorry 14 \
	"Vicinato needs Python 3.11 or newer, and there is no $python here." \
	"Vicinato richiede Python 3.11 o più recente, e qui non c'è $python."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || sorry 14 \
	"Vicinato needs Python 3.11 or newer; this is $version. Another one can be named: PYTHON=python3.12 make up" \
	"Vicinato richiede Python 3.11 o più recente; questo è $version. Se ne può indicare un altro: PYTHON=python3.12 make up"
"$python" -c 'import venv, ensurepip' 2>/dev/null || sorry 14 \
	"Python $version is here without its venv module; on Debian and Ubuntu the package is python$version-venv." \
	"Python $version è installato senza il modulo venv; su Debian e Ubuntu il pacchetto è python$version-venv."

no_network() {
	sorry 15 \
		"$1 could not be fetched: the first start needs a network. What was fetched is kept." \
		"$1: scaricamento non riuscito. Al primo avvio serve la rete; quanto già scaricato resta."
}

if ! cmp -s deploy/local/uv.txt .uv/installed; then
	echo "Installing uv ..."
	rm -rf .uv
	"$python" -m venv .uv
	.uv/bin/python -m pip install -q --disable-pip-version-check --require-hashes \
		-r deploy/local/uv.txt || no_network "uv"
	cp deploy/local/uv.txt .uv/installed
fi

echo "Installing the packages ..."
UV_PYTHON_DOWNLOADS=never UV_PYTHON="$(command -v "$python")" UV_LINK_MODE=${UV_LINK_MODE:-copy} \
	.uv/bin/uv sync --frozen --compile-bytecode --quiet || no_network "A package"
# Our own packages are installed in place and not compiled by uv; without byte code every process
# would compile them anew where PYTHONDONTWRITEBYTECODE is set.
.venv/bin/python -m compileall -q libs/*/src services/*/src deploy/local/src

echo "Fetching Kafka ..."
.venv/bin/python -m vicinato.cli fetch-kafka
pwd >.venv/installed
