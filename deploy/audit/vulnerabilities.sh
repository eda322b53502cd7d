#!/bin/sh
# Asks whether any locked package is known to be unsafe. Needs the network.
#
# Ends with 1 when one is, and with 15, in one sentence, when that could not be asked: an audit that
# looked at nothing must not read as a good one. With 16 when something is older than promised.
set -eu
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

.uv/bin/uv export --frozen --all-groups --no-emit-workspace --no-header --quiet -o "$folder/locked.txt"
code=0
.uv/bin/uv run --frozen --isolated --only-group audit --quiet \
	pip-audit --disable-pip --require-hashes -r "$folder/locked.txt" --progress-spinner off \
	-f json -o "$folder/found.json" 2>"$folder/said.txt" || code=$?
.venv/bin/python deploy/audit/vulnerabilities.py "$folder/found.json" "$folder/said.txt" "$code"
