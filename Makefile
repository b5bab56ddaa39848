# make demo: the page on http://127.0.0.1:7860      make test: every test      make lint: style and types
# make notebooks: run them all; NBMAKE=--overwrite keeps the new outputs      make bench: how fast it is
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint notebooks bench clean

demo: .venv/demo
	$(BIN)/python app.py

test: lint browser
	$(BIN)/python -m pytest

test-fast: .venv/test
	$(BIN)/python -m pytest -m "not slow and not browser"

lint: .venv/test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

notebooks: .venv/test
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=300 $(NBMAKE) notebooks

# Engines against the textbook form and the machine, the page, raters by the hundred, visitors by fifty, the cost of more; fails
# where a figure is far from its target. About half an hour. On a machine that is never idle: BENCH=--cpu-time
bench: .venv/test
	$(BIN)/python -m bench.speed $(BENCH)
	$(BIN)/python -m bench.scale $(BENCH)
	$(BIN)/python -m bench.page
	$(BIN)/python -m bench.raters --write
	$(BIN)/python -m bench.visitors

# Each stamp is newer than the requirements it stands for.
.venv/demo: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -q -r requirements.txt
	touch $@

.venv/test: requirements.txt requirements-test.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -q -r requirements-test.txt
	touch $@

# Chromium for the browser tests, where this user may install it; elsewhere those tests skip and say so.
.PHONY: browser
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	     && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
	|| echo "No Chromium here and no right to install it: the browser tests will be skipped."

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
