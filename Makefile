# Everything runs from a fresh clone with Python 3.11, Node 20 and make.
PYTHON ?= python3
BIN := .venv/bin
STATIC := src/dropoff/dashboard/static
WEB := src/dropoff/dashboard/web
WORKERS ?= 3
# More options of `make demo`, like DEMO="--port 0 --data DIR".
DEMO ?=

.PHONY: demo test check format bench bench-large long build docs pictures setup system lock clean

demo: setup                ## open a running dashboard on 20,000 generated conversations
	$(BIN)/dropoff demo --data demo-data $(DEMO)

test: setup system         ## everything the tests need, then the tests
	.ci/in-memory $(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not long"

check: setup               ## format, lint, types, import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

long: setup system         ## long simulations, soaks and hundreds of kills
	$(BIN)/pytest -m long

bench: setup               ## ratios against named peers, all in one run; renews docs/benchmarks.md
	$(BIN)/python -m bench --page docs/benchmarks.md

bench-large: setup         ## the same of a store of 100 million events
	$(BIN)/python -m bench --only large --page docs/benchmarks.md

build: setup               ## the wheels: dropoff and dropoff-client
	rm -rf dist
	$(BIN)/python -m build --no-isolation --wheel --outdir dist .
	$(BIN)/python -m build --no-isolation --wheel --outdir dist client

docs: setup                ## the reference renewed, and the site in dist/docs, without the network
	$(BIN)/python docs/reference.py
	$(BIN)/sphinx-build -q -W --keep-going docs dist/docs

pictures: setup system      ## every page in both themes and sizes, of a demo of its own, into docs/images
	$(BIN)/python docs/pictures.py

setup: .venv/.ready $(STATIC)/.ready

.venv/.ready: requirements.lock pyproject.toml client/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(STATIC)/.ready: node_modules/.ready vite.config.ts $(wildcard $(WEB)/*)
	npx vite build --logLevel warn
	touch $@

node_modules/.ready: package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	touch $@

system:                    ## Debian packages the tests use; without root the tests that need them are skipped
	@.ci/system-packages

lock:                      ## renew the lock file: hashes, no index addresses
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --group pyproject.toml:dev --all-extras pyproject.toml -o requirements.lock

clean:
	rm -rf .venv node_modules dist $(STATIC) .pytest_cache .ruff_cache .hypothesis
