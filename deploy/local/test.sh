#!/bin/sh
# Everything that must hold before a change lands. All of it is run; any part fails the whole.
# Types are looked at beside the tests, which wait for stores and brokers half of their time. The
# closing line of the tests is the last one in any case.
set -u
cd "$(dirname "$0")/../.."
# What pytest makes of the asserts of tests and of its plugins' 300 modules is kept: where it may not
# be, each worker makes all of it anew, which is half of what its beginning takes.
unset PYTHONDONTWRITEBYTECODE
bin=.venv/bin
failed=
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT

part() {
	name=$1
	shift
	printf '== %s\n' "$name"
	"$@" || failed="$failed $name"
}

MYPYPATH=tests:tests/browser $bin/python -m mypy libs/*/src services/*/src deploy/local/src \
	tests/house.py tests/chaos tests/benchmarks >"$kept/types" 2>&1 &
types=$!
trap 'kill "$types" 2>/dev/null; rm -rf "$kept"' EXIT
part rules $bin/ruff check --quiet .
part format $bin/ruff format --check --quiet .
part imports $bin/lint-imports
[ -z "$failed" ] || printf '== not as it should be:%s\n' "$failed"
printf '== tests\n'
colour=no
[ -t 1 ] && colour=yes
{
	$bin/python -m pytest -n "${WORKERS:-3}" --dist loadgroup --no-loadscope-reorder \
		-m "not chaos" -q --color "$colour"
	echo $? >"$kept/ended"
} | tee "$kept/tests"
[ "$(cat "$kept/ended")" = 0 ] || failed="$failed tests"
if ! wait "$types"; then
	failed="$failed types"
	printf '== types\n'
	cat "$kept/types"
	tail -n 1 "$kept/tests"
fi
[ -z "$failed" ]
