# Each target builds its environment by itself. All it needs is Python 3.12 or newer. With uv on the
# PATH it installs what requirements.lock lists, or, with RESOLUTION=highest or lowest-direct, the
# newest or the oldest versions that pyproject.toml allows.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$p && break; done)
RESOLUTION ?=
VENV := .venv$(addprefix -,$(RESOLUTION))
BIN := $(VENV)/bin
UV := $(shell command -v uv)
INSTALL := $(if $(UV),$(UV) pip install --python $(BIN)/python,$(BIN)/python -m pip install) --quiet

.PHONY: demo test check docs lock faults bench bench-device bench-predict scale interop clean

demo: $(VENV)/installed
	$(BIN)/python train.py --config=configs/demo.py --workdir=runs/demo
	$(BIN)/python eval.py --workdir=runs/demo

# Style and types are checked with the newest tools and type stubs only.
test: $(if $(filter lowest%,$(RESOLUTION)),$(VENV)/installed,check)
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

check: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/installed
	$(INSTALL) --editable '.[docs]'
	$(BIN)/mkdocs build --strict

lock:
	uv pip compile pyproject.toml --universal --extra dev --generate-hashes --no-emit-index-url \
		--no-header --upgrade --output-file requirements.lock

faults: $(VENV)/installed
	DKSE_FAULTS=full $(BIN)/python -m pytest tests/faults tests -m "fault or full" \
		--numprocesses=2 --dist=loadfile
	$(BIN)/python -m scripts.fill_pages

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks $(if $(TORCH_PYTHON),--torch-python=$(TORCH_PYTHON)) \
		$(if $(DATA_ROOT),--data-root=$(DATA_ROOT))

# Lets other programs read what predictions are written as; those not installed are named.
interop: $(VENV)/installed
	$(BIN)/python -m scripts.interop

bench-device: $(VENV)/installed
	$(BIN)/python -m benchmarks.on_device $(if $(TORCH_PYTHON),--torch-python=$(TORCH_PYTHON))

bench-predict: $(VENV)/installed
	$(BIN)/python -m benchmarks.predicting $(if $(TORCH_PYTHON),--torch-python=$(TORCH_PYTHON))

scale: $(VENV)/installed
	$(BIN)/python -m benchmarks.scale_of_devices
	$(BIN)/python -m benchmarks.scale_of_processes
	$(BIN)/python -m benchmarks.scale_of_records
	$(BIN)/python -m benchmarks.scale_of_data

$(VENV)/installed: pyproject.toml $(if $(UV),requirements.lock)
ifeq ($(UV),)
	@test -n "$(PYTHON)" || { echo "dkse_jax needs Python 3.12 or newer; make PYTHON=/path/to/it"; exit 2; }
	@test -z "$(RESOLUTION)" || { echo "RESOLUTION needs uv on the PATH"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[dev]'
else
	$(UV) venv --quiet --allow-existing $(if $(PYTHON),--python $(PYTHON)) $(VENV)
	$(INSTALL) $(if $(RESOLUTION),--resolution $(RESOLUTION) --requirement pyproject.toml \
		--extra dev,--require-hashes --requirement requirements.lock)
	$(INSTALL) --no-deps --editable .
endif
	@touch $@

clean:
	rm -rf .venv* runs site
