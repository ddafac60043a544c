# Each target builds .venv by itself: Python 3.12 or newer is all it needs.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: demo test check faults bench scale clean

demo: .venv/installed
	$(BIN)/python train.py --config=configs/demo.py --workdir=runs/demo
	$(BIN)/python eval.py --workdir=runs/demo

test: check
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

check: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

faults: .venv/installed
	DKSE_FAULTS=full $(BIN)/python -m pytest tests/faults --numprocesses=2 --dist=loadfile
	$(BIN)/python -m scripts.fill_pages

bench: .venv/installed
	$(BIN)/python -m benchmarks $(if $(TORCH_PYTHON),--torch-python=$(TORCH_PYTHON)) \
		$(if $(DATA_ROOT),--data-root=$(DATA_ROOT))

scale: .venv/installed
	$(BIN)/python -m benchmarks.scale_of_devices
	$(BIN)/python -m benchmarks.scale_of_processes
	$(BIN)/python -m benchmarks.scale_of_records
	$(BIN)/python -m benchmarks.scale_of_data

.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "dkse_jax needs Python 3.12 or newer; make PYTHON=/path/to/it"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv runs
