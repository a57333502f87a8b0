# make demo   train a network on MNIST and take it all the way to a bitstream;
#             make demo-conv does so with a convolutional network
# make test   lint, types and tests (at most 15 minutes on two cores)
# make docs   the documentation as a site in build/site; warnings are errors
# All create .venv when it is missing; `make .venv` does just that.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: .venv demo demo-conv test test-full docs lint format clean
.DELETE_ON_ERROR:

.venv: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@PYTHON='$(PYTHON)' sh tools/prerequisites.sh
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

demo-conv: $(INSTALLED)
	$(BIN)/python examples/demo.py conv

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

test-full: lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache
