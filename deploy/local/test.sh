#!/bin/sh
# Everything that must hold before a change lands. All of it is run; any part fails the whole.
# The tests come last, so that their closing line is the last one.
set -u
cd "$(dirname "$0")/../.."
bin=.venv/bin
failed=

part() {
	name=$1
	shift
	printf '== %s\n' "$name"
	"$@" || failed="$failed $name"
}

part rules $bin/ruff check --quiet .
part format $bin/ruff format --check --quiet .
part types $bin/python -m mypy libs/*/src services/*/src deploy/local/src
part imports $bin/lint-imports
[ -z "$failed" ] || printf '== not as it should be:%s\n' "$failed"
printf '== tests\n'
$bin/python -m pytest -n "${WORKERS:-2}" --dist loadgroup -m "not chaos" -q || failed="$failed tests"
[ -z "$failed" ]
