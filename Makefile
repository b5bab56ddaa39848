# make demo           serve the page on http://127.0.0.1:7860
# make test           lint and all tests
# make test-fast      the tests without the markers slow and browser, under two minutes on two cores
# make lint           ruff, mypy, import rules
# make notebooks      run all notebooks; NBMAKE=--overwrite stores the new outputs
# make bench          benchmarks of speed, page and database
# make lock           write requirements-lock.txt, the packages of a Space with their digests
# make audit          check the packages of a Space for known holes, where the advisories can be reached
# make constraints    write the versions installed in .venv, or in BIN=ENVIRONMENT/bin, to constraints.txt
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: demo test test-fast lint notebooks bench lock audit constraints clean

demo: .venv/demo
	$(BIN)/python app.py

test: lint browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not browser" -n 2 --dist loadfile
	$(BIN)/python -m pytest -m browser

test-fast: .venv/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not browser" -n 2 --dist loadfile

lint: .venv/test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

notebooks: .venv/test
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=300 $(NBMAKE) notebooks

# About half an hour. Fails if a value is far from its target. BENCH=--cpu-time: for a machine with other running processes.
bench: .venv/test
	$(BIN)/python -m bench.speed $(BENCH)
	$(BIN)/python -m bench.scale $(BENCH)
	$(BIN)/python -m bench.page
	$(BIN)/python -m bench.raters
	$(BIN)/python -m bench.intervals
	$(BIN)/python -m bench.visitors

lock: .venv/test
	$(BIN)/python -m demo.deploy.lock

audit: .venv/test
	$(BIN)/python -m demo.deploy.audit

# The files .venv/demo and .venv/test record when the requirements were installed.
.venv/demo: requirements.txt constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -r requirements.txt
	touch $@

.venv/test: requirements.txt requirements-test.txt constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -r requirements-test.txt
	touch $@

# Install Chromium for the browser tests if this user may; otherwise these tests are skipped.
.PHONY: browser
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	     && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
	|| echo "Chromium is not installed and cannot be installed by this user: the browser tests will be skipped."

# The local part of a version, such as +cpu, is removed.
constraints:
	{ grep '^#' constraints.txt; $(BIN)/pip freeze | grep -v -e '^-e' -e ' @ ' | sed 's/+[a-z0-9.]*$$//'; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
