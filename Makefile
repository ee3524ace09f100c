# make run     a server that takes mail for example.org on 127.0.0.1:2525, into ./mail
# make test    everything that must hold before a change goes in
# make docs    the pages of the manual that are made from the code
# make bench   messages a second, against other servers
# make format  the source as ruff would have it
#
# Nothing is needed but make and Python 3.11 or later; another Python: make PYTHON=python3.13 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What is built from source must be built with the same versions everywhere, too.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
       PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet
# The development tools, which an old pip cannot read from pyproject.toml.
TOOLS := import tomllib; \
         print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")

.PHONY: run test docs bench format clean

run: $(VENV)/installed
	test -e gatepost.toml || $(BIN)/gatepost init .
	exec $(BIN)/gatepost serve

test: $(VENV)/tools-installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2

docs: $(VENV)/tools-installed
	$(BIN)/python -m gatepost.reference docs

bench: $(VENV)/tools-installed
	$(BIN)/python -m benchmarks

format: $(VENV)/tools-installed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf $(VENV) build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
	  "Gatepost needs Python 3.11 or later, and $(PYTHON) is " + sys.version.split()[0] \
	  + ": say make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

# These files only mark that the step above them was done, and when.
$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/tools-installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -c '$(TOOLS)' > $(VENV)/tools.txt
	$(PIP) --editable '.[auth,ldap,oauth2,otel,pam,postgres,web]' --requirement $(VENV)/tools.txt
	@touch $@ $(VENV)/installed
