# Everything a newcomer types. Python 3.11 is all that must be there.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PORT ?= 8080
DATA ?= var/guanjia

.PHONY: run install test test-fast lint bench soak screenshots lock clean
.DEFAULT_GOAL := help
# Without bytecode each of the processes that tests start compiles the whole house anew.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo "make run          the console with a demo city, on port $(PORT), data in $(DATA)"
	@echo "make test         lint, types, import contracts and every test"
	@echo "make test-traces  the tests on the published traces, where they lie in $(TRACES)"
	@echo "make test-clouds  the tests against a real OpenStack, which it brings up and takes down (root)"
	@echo "make test-fast    lint, and the quick tests of what changed: 3 minutes"
	@echo "make install lint wheel dist bench judgement forecast screenshots lock clean"

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv

.venv/.run-installed: requirements/run.txt pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.venv/.test-installed: requirements/test.txt .venv/.run-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

install: .venv/.run-installed
	@$(BIN)/python -m console.assets
	@$(BIN)/python -m console.i18n compile

run: install
	@$(BIN)/guanjia run --port $(PORT) --data $(DATA)

.PHONY: test-tools
test-tools: .venv/.test-installed install
	@bash tests/system_packages

lint: .venv/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Bytecode of the house and of the tests, which each of the workers would otherwise make for itself in a fresh clone.
.PHONY: bytecode
bytecode: .venv/.test-installed
	-@$(BIN)/python -m pytest --collect-only -q > /dev/null

# Four for two cores: much of what is tested waits for another process, for a slot of time, for a disk. They hold 9 GB at most,
# with what they write; a machine that has less to give would stand still.
WORKERS ?= $(or $(shell awk '/^MemAvailable/ {print ($$2 > 9e6) ? 4 : ($$2 > 5e6) ? 2 : 1}' /proc/meminfo 2> /dev/null),2)
test: test-tools
	@$(MAKE) --no-print-directory -j 2 lint bytecode
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# The tests on the published traces, which are no part of a clone: they lie in TRACES.
TRACES ?= $(or $(GUANJIA_TRACES),../shared/traces)
.PHONY: test-traces
test-traces: test-tools
	GUANJIA_TRACES=$(abspath $(TRACES)) $(BIN)/python -m pytest -n 2 --dist loadfile -m published

# A real OpenStack on the loopback: brought up, filled, tested against, taken down. It needs root, apt and some 3 GB of memory;
# CLOUDS is a folder that every user may enter. `make record-clouds` records what its services answer, of a city without traces
# of tests.
CLOUDS ?= /var/tmp/guanjia-clouds
IN_CLOUD = OS_CLIENT_CONFIG_FILE=$(CLOUDS)/clouds.yaml OS_CLOUD=testbed
.PHONY: clouds-up clouds-down test-clouds record-clouds
clouds-up: test-tools
	$(BIN)/python -m tests.clouds.services up $(CLOUDS)
	$(IN_CLOUD) $(BIN)/python -W ignore -m tests.clouds.filling

clouds-down:
	$(BIN)/python -m tests.clouds.services down $(CLOUDS)

test-clouds: clouds-up
	@bash tests/system_packages bench
	$(IN_CLOUD) $(BIN)/python -m pytest -m clouds tests/clouds; status=$$?; $(MAKE) clouds-down; exit $$status

record-clouds:
	$(BIN)/python -m tests.clouds.services down $(CLOUDS) --wipe
	$(MAKE) clouds-up
	$(BIN)/python -W ignore -m tests.clouds.recording $(CLOUDS); status=$$?; $(MAKE) clouds-down; exit $$status

# Every operation of the API is sent EXAMPLES requests that fit its description and as many that do not, others each time; `make
# test` sends two of each.
EXAMPLES ?= 25
.PHONY: test-api
test-api: test-tools
	GUANJIA_API_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n 2 tests/console/test_api_fuzzed.py

# The whole demo city founded on a Sunday, a holiday, a leap day, …; `make test` founds a small one on each.
.PHONY: test-days
test-days: test-tools
	GUANJIA_WHOLE_DAYS=1 $(BIN)/python -m pytest tests/console/test_demo_days.py

# Everybody opens every page of the demo city in a browser, and sends every nonsense to each; in `make test` one of those who may does,
# and each page and form gets a share of the nonsense.
.PHONY: test-walks
test-walks: test-tools
	GUANJIA_WHOLE_WALKS=1 $(BIN)/python -m pytest -n 3 --dist loadfile tests/browser/test_demo.py tests/browser/test_hostile.py tests/browser/test_links.py

# The inner loop, in three minutes: lint, types, contracts, and every test that is not marked slow, browser or services.
test-fast: lint install
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not browser and not services" --affected

# The pages and the stories over HTTP on PostgreSQL; `make test` walks them on SQLite.
.PHONY: pages
pages: test-tools
	GUANJIA_TEST_PAGES=postgresql $(BIN)/python -m pytest -n 2 --dist loadfile tests/console tests/journeys tests/browser/test_hostile.py

# Every claim of speed beside an alternative; takes a while. ONLY="name …" for some of it.
bench: test-tools
	@bash tests/system_packages bench || echo "VictoriaMetrics cannot be installed here: the table will say so"
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY),--write docs/benchmarks.md)

# This build's figures beside those of an earlier one, in turn: BASE is a commit, ONLY="name …" some of the works.
BASE ?= f62aa2d
.PHONY: bench-beside
bench-beside: test-tools
	[ -d var/$(BASE) ] || git worktree add --detach var/$(BASE) $(BASE)
	@[ -e var/shared ] || ln -s $(abspath $(dir $(abspath $(TRACES)))) var/shared # where the earlier build looks for the traces
	$(MAKE) -C var/$(BASE) .venv/.test-installed install
	$(BIN)/python -m benchmarks --beside var/$(BASE) $(if $(ONLY),--only $(ONLY))

# A real Prometheus writes to the console for ten minutes, is stopped, and started again.
soak: test-tools
	GUANJIA_SOAK_S=600 $(BIN)/python -m pytest tests/journeys/test_prometheus.py

# Every policy on every published trace: docs/judgement.md with its charts.
.PHONY: judgement
judgement: install
	$(BIN)/guanjia backtest --all $(TRACES) --write docs/judgement.md

# Forecasts on held-back days of every published trace: docs/forecast.md with its drawings.
.PHONY: forecast
forecast: install
	$(BIN)/guanjia forecast test $(TRACES) --write docs/forecast.md

screenshots: test-tools
	GUANJIA_SHOTS=docs/screenshots $(BIN)/python -m pytest tests/browser

# Pins every dependency with its hashes; no address of any index is written.
COMPILE = $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --upgrade \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host
lock: .venv/.test-installed
	$(BIN)/python -m pip install --quiet pip-tools
	$(COMPILE) --extra setup -o requirements/run.txt pyproject.toml
	$(COMPILE) --extra setup --extra test -c requirements/run.txt -o requirements/test.txt pyproject.toml

# A wheel that needs neither Node nor this checkout, and a bundle that needs no network (dist/).
.PHONY: wheel dist
wheel: install
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

dist: wheel
	$(BIN)/python deploy/bundle.py "$$(ls -t dist/guanjia-*.whl | head -1)" dist

clean:
	rm -rf build dist .venv node_modules console/static/vendor var
