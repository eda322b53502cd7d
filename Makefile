# Vicinato: `make up` starts it, `make test` tries it, `make help` names the rest.
#
# PORT= DATA= KAFKA= DATABASE= and the other settings of the README may be given on the command line
# or in the environment.

.DEFAULT_GOAL := help
.PHONY: help install up stop status test lint types imports day chaos nightly bench audit docs screenshots

PYTHON ?= python3
export PYTHON
RUN := .venv/bin/python -m
VICINATO := $(RUN) vicinato.cli
LOCKED := uv.lock pyproject.toml deploy/local/uv.txt deploy/kafka/kafka.lock \
	$(wildcard libs/*/pyproject.toml services/*/pyproject.toml deploy/local/pyproject.toml)

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# What is installed in place names its folder: a checkout that was moved is installed again.
ifneq ($(shell cat .venv/installed 2>/dev/null),$(CURDIR))
.PHONY: .venv/installed
endif
.venv/installed: $(LOCKED)
	@sh deploy/local/install.sh

install: .venv/installed ## Everything from the lock files; does nothing when it is there

up: .venv/installed ## Start Vicinato; Ctrl-C stops it
	@$(VICINATO) up

stop: .venv/installed ## Stop it from another window
	@$(VICINATO) stop

status: .venv/installed ## Its parts: state, memory, outbox age, lag, events set aside
	@$(VICINATO) status

test: .venv/installed ## Lint, strict types, import rules and all tests but the slow ones
	@sh deploy/local/test.sh

lint: .venv/installed ## ruff: rules and format
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .

types: .venv/installed ## mypy, strict
	@$(RUN) mypy $(wildcard libs/*/src services/*/src deploy/local/src)

imports: .venv/installed ## Who may import whom
	@.venv/bin/lint-imports

day: .venv/installed ## Play a day on a throw-away centre, then verify every invariant
	@$(VICINATO) day examples/quarto-oggiaro

chaos: .venv/installed ## Faults on a house at work: SEED= MINUTES=20 FAULTS=200 DATABASE=sqlite KINDS= RATE=12
	@PYTHONPATH=tests $(RUN) chaos

nightly: .venv/installed ## The slow tests: chaos, and every property a thousand times
	@$(RUN) pytest -m chaos --timeout 1200
	@$(RUN) pytest -m "(properties or hypothesis) and not chaos" --hypothesis-profile=nightly \
		-n 2 --dist loadgroup --timeout 7200

bench: .venv/installed ## How fast it is, with baselines beside it; ONLY=a,c for parts, SCALE=0.1
	@.uv/bin/uv sync --frozen --inexact --quiet --group bench || \
		echo "faststream-outbox could not be fetched: its lines are left out."
	@PYTHONPATH=tests $(RUN) benchmarks --only "$(ONLY)" --scale "$(SCALE)" --rounds "$(or $(ROUNDS),3)" $(if $(WRITE),--write)

audit: .venv/installed ## Licences of all packages, and whether one is known to be unsafe (network)
	@.venv/bin/python deploy/audit/licences.py check
	@sh deploy/audit/vulnerabilities.sh

docs: .venv/installed ## What is generated, written anew: event catalogue, topics for Strimzi, licences, logs, fields, front door
	@$(RUN) messaging.catalogue write docs/events.md
	@.venv/bin/python deploy/kubernetes/topics.py
	@.venv/bin/python deploy/local/front-door/source/write.py
	@.venv/bin/python deploy/audit/licences.py write docs/licences.md
	@.venv/bin/python deploy/audit/log_events.py write docs/logs.md
	@PYTHONPATH=tests $(RUN) security.fields docs/fields.md

screenshots: .venv/installed ## Photograph every page into screenshots/; ONLY=till,desk keeps some
	@ONLY="$(ONLY)" PYTHONPATH=tests:tests/browser $(RUN) photograph

translations: .venv/installed ## Translations that no human has looked at yet, into build/unreviewed.csv
	@mkdir -p build && $(RUN) web.translations unreviewed web identity cards solidarity_shop activities notifications network > build/unreviewed.csv
