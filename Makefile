# Two commands for a newcomer: `make demo` and `make test`. Everything else is for those who stay.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
SAMPLE := $(VENV)/.sample
TESTED := $(VENV)/.tested
stage  ?= $(or $(WEIGHTS_STAGE),dev)
book   ?= calmar_core
limit  ?= 10
export WEIGHTS_STAGE := $(stage)
export WEIGHTS_HOME ?= $(CURDIR)/.home$(if $(filter-out dev,$(stage)),/$(stage))
export WEIGHTS_DATA ?= $(CURDIR)/data
export DAGSTER_HOME := $(WEIGHTS_HOME)
# Where it is set, every process compiles everything that it imports: half of the time of all that starts processes.
export PYTHONDONTWRITEBYTECODE :=
# The site's theme tells of its successor at every build.
export NO_MKDOCS_2_WARNING := 1
PYTEST := $(BIN)/pytest -n 2 --dist loadgroup -q

.PHONY: demo ui test tests lint unit integration acceptance fuzz mutants audit licences reliability bench sample screenshots docs tutorial lock clean help \
  weights-init weights-show weights-rebalance weights-history

help:            ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

demo: $(STAMP)   ## set up and materialise the full history of the sample book
	@$(BIN)/weights demo

ui: $(STAMP)                 ## open Dagster on the demo store (http://127.0.0.1:3000)
	@mkdir -p $(DAGSTER_HOME) && cp dagster.yaml $(DAGSTER_HOME)/dagster.yaml
	@$(BIN)/weights ui

weights-init: $(STAMP)       ## a book's first day: base weights are published; book=, stage=
	@$(BIN)/weights init --book $(book)

weights-show: $(STAMP)       ## the weights in force; book=, stage=
	@$(BIN)/weights show --book $(book)

weights-rebalance: $(STAMP)  ## rebalance on the last period that has ended; book=, stage=
	@$(BIN)/weights rebalance --book $(book)

weights-history: $(STAMP)    ## versions, the newest first; book=, stage=, limit=
	@$(BIN)/weights history --book $(book) --limit $(limit)

test: $(TESTED)  ## lint, types and all tests
	@$(MAKE) --no-print-directory -j 2 lint tests

lint: $(STAMP)   ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

tests: $(TESTED) ## all tests: unit, integration and acceptance
	$(PYTEST)

unit: $(SAMPLE)  ## tests of single rooms: no run, no server, no browser; a minute
	$(PYTEST) weights_pipeline_tests/unit

integration: $(TESTED) ## tests of rooms together: real runs, stores, the command line
	$(PYTEST) weights_pipeline_tests/integration

acceptance: $(TESTED) ## tests of the whole: browser, deployment, faults, security, every page of the docs
	$(PYTEST) weights_pipeline_tests/acceptance

fuzz: $(SAMPLE)  ## properties of single rooms on new examples, then 10,000 damaged ledgers: others every time; over an hour
	$(PYTEST) --hypothesis-profile=new weights_pipeline_tests/unit
	$(BIN)/python -m benchmarks.fuzz --first $$(date +%s)

mutants: $(STAMP) ## mutation tests of weighting and metrics, most of an hour; see docs/mutants.md
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt 'mutmut>=3.8,<4'
	$(BIN)/mutmut run --max-children 2
	$(BIN)/mutmut results

audit: $(STAMP)  ## known vulnerabilities of all pins; needs a network, and says so
	@$(BIN)/python .ci/audit.py

licences: $(STAMP) ## write docs/licences.md again
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev,deploy,skfolio]'
	@$(BIN)/python .ci/licences.py

reliability: $(STAMP) ## two hundred kills, faults, full disks and damaged files on both stores
	@$(BIN)/python -m benchmarks.reliability

bench: $(STAMP)  ## benchmarks: medians and ratios side by side
	$(BIN)/python -m benchmarks

sample: $(SAMPLE) ## make the sample ledger again, from prices bundled with a package
	$(BIN)/python data/sample/make_sample.py

screenshots: $(STAMP) ## take the pictures of README and docs again, of what `make demo` has made; needs Chromium
	@$(BIN)/python .ci/screenshots.py

docs: $(STAMP)   ## build the site of the docs into build/site
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev,docs]'
	@$(BIN)/python -m mkdocs build --quiet --strict
	@echo "The site is in build/site. To read it: $(BIN)/python -m http.server -b 127.0.0.1 -d build/site"

tutorial: $(STAMP) ## run the tutorial and store its outputs in it
	@$(BIN)/python -m weights_pipeline_tests.support.notebook

lock: $(STAMP)   ## resolve constraints.txt anew
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --universal --python-version 3.11 \
	  --no-emit-index-url --no-header --no-annotate -o constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

$(SAMPLE): $(STAMP)
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev,sample]'
	@touch $(SAMPLE)

# What only tests need: prices to compare with, a second S3 server, a PostgreSQL server, a browser, the site of the docs.
$(TESTED): $(SAMPLE)
	@.ci/tools
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev,sample,deploy,docs,node]'
	@PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/npm install --silent --prefix $(VENV)/s3rver --no-audit --no-fund s3rver@3.7.1
	@touch $(TESTED)

clean:           ## remove the environment and everything the pipeline wrote
	rm -rf $(VENV) $(WEIGHTS_HOME) mutants
