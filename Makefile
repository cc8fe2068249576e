# DiffShortcut. Every target makes its own environment; `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?= attack=metacloak purifier=ours
SLOW_EXTRAS := test,mini,grid,optim8,browser,dashboard
FULL   := .venv-full
FAST   := not slow and not faults and not gpu and not large and not long
# every process computes with one thread
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python $(COVERED) -m pytest --numprocesses 2 --dist loadfile
COVERED = $(if $(COVERAGE),-m slipcover --branch --source diffshortcut --omit '$(RECIPES)' --skip-covered --missing-width 40)
RECIPES := diffshortcut/mini/train/*,diffshortcut/mini/portraits/*

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

$(VENV)/.slow: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(SLOW_EXTRAS)]'
	@touch $@

setup: $(VENV)/.core ## make the environment only

$(FULL)/.full: pyproject.toml constraints.txt constraints-full.txt
	$(PYTHON) -m venv $(FULL)
	grep -v '^torch==' constraints.txt | cat - constraints-full.txt > $(FULL)/constraints.txt
	$(FULL)/bin/python -m pip install --quiet --constraint $(FULL)/constraints.txt torch torchvision
	$(FULL)/bin/python -m pip install --quiet --constraint $(FULL)/constraints.txt --editable '.[test,full-test]'
	$(FULL)/bin/python -m pip install --quiet --no-deps codeformer-pip==0.0.4
	@touch $@

run: $(VENV)/.core ## the main job on the mini zoo; ARGS="attack=aspl purifier=jpeg" for another
	$(BIN)/python -m diffshortcut.run $(ARGS)

test: $(VENV)/.core ## lint, types and the fast tests; COVERAGE=1 prints the branches that they take
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -m "$(FAST)"

test-slow: $(VENV)/.slow ## the slow tests, with everything that they need
	$(PYTEST) -m "slow and not alone"
	$(BIN)/python -m pytest -m "slow and alone"

test-long: $(VENV)/.slow ## more of what the slow tests show on a part: presets, costs, other launchers
	$(BIN)/python -m pytest -m long

test-large: $(VENV)/.slow ## one step of each kind at the size of Stable Diffusion 2.1 (20 GB of memory)
	$(BIN)/python -m pytest -s -m large

test-gpu: $(VENV)/.core ## every path that only a GPU can run (at most 20 minutes; skipped without CUDA)
	@if $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
		$(MAKE) $(VENV)/.slow && $(BIN)/python -m pip install --quiet --editable '.[gpu]'; fi
	$(BIN)/python -m pytest -m gpu

test-full: $(FULL)/.full ## the full zoo's packages on random weights, in an environment of their own (7 GB)
	$(FULL)/bin/python -m pytest -m full

faults: $(VENV)/.core ## break whole runs on purpose: kills, damage, full disks, dead servers ... (an hour)
	OMP_NUM_THREADS=1 FAULTS_RECORD=experiments/faults/record.json $(BIN)/python -m pytest -m faults tests/faults --deselect tests/faults/test_determinism.py

determinism: $(VENV)/.core ## what changes no byte, and how far the rest may go (minutes)
	rm -f experiments/determinism/measured.jsonl
	OMP_NUM_THREADS=1 DETERMINISM_RECORD=experiments/determinism/measured.jsonl $(BIN)/python -m pytest -m faults tests/faults/test_determinism.py

mutants: $(VENV)/.core ## mutation testing of statistics, seeding, disk, store and lease (ten minutes or more)
	$(BIN)/python -m pip install --quiet 'mutmut>=3.8'
	mkdir -p mutants
	OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/mutants $(BIN)/mutmut run --max-children 1
	$(BIN)/mutmut results

licences: $(VENV)/.core ## of everything that is installed, and of the weights
	$(BIN)/python -m pip install --quiet pip-licenses
	$(BIN)/pip-licenses --order=license --from=mixed
	$(BIN)/python -m diffshortcut.weights licences

audit: $(VENV)/.core ## known vulnerabilities of what is installed; skipped where the database is not reached
	$(BIN)/python -m pip install --quiet pip-audit
	.ci/audit $(BIN)/pip-audit

mini: $(VENV)/.slow ## train the mini zoo from nothing (hours; resumable)
	$(BIN)/python -m diffshortcut.mini.train.build

mini-data: $(VENV)/.slow ## draw the shipped people and paintings again, and the development people
	$(BIN)/python -m diffshortcut.mini.train.people
	$(BIN)/python -m diffshortcut.mini.train.paintings
	$(BIN)/python -m diffshortcut.mini.train.people --development --folder build/development

mini-gates: $(VENV)/.slow ## measure the mini zoo's gates on people never trained on, and write the cards
	$(BIN)/python -m diffshortcut.mini.train.gates
	$(BIN)/python -m diffshortcut.mini.train.cards

mini-audit: $(VENV)/.slow ## what networks trained on real faces say of the shipped portraits
	$(BIN)/python -m pip install --quiet --editable '.[audit]'
	$(BIN)/python -m diffshortcut.mini.train.audit

quickstart: $(VENV)/.core ## seven arms on eight people, with statistics (about two hours)
	$(BIN)/python -m diffshortcut.run experiment=quickstart

bench: $(VENV)/.core ## every stage beside the published way, growth, start-up: a table and a plot in outputs/bench
	OMP_NUM_THREADS=1 $(BIN)/python -m diffshortcut.bench $(BENCH)

bench-attacks: $(VENV)/.core ## the attacks' speed beside plain versions of the published loops (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m diffshortcut.bench.attacks

bench-purifiers: $(VENV)/.core ## the purifiers' speed beside plain versions of the published loops, and their costs
	OMP_NUM_THREADS=1 $(BIN)/python -m diffshortcut.bench.purifiers
	OMP_NUM_THREADS=2 $(BIN)/python -m diffshortcut.bench.purifiers --only gridpure --threads 2
	OMP_NUM_THREADS=1 $(BIN)/python -m diffshortcut.bench.purifiers --costs

grid-kills: $(VENV)/.slow ## a grid on Ray whose workers and driver are killed twenty times ends with equal bytes
	GRID_KILLS=20 GRID_RECORD=experiments/faults/grid-kills.json OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s -m "slow or long" tests/test_ray.py -k "same_bytes or kills or cluster"

slurm-test: $(VENV)/.slow ## a Slurm of two nodes on this machine runs a grid (Debian, as root; installs slurm-wlm)
	.ci/slurm-test $(BIN)/python

wheel: $(VENV)/.core ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove the environment and what was built (results in outputs/ stay)
	rm -rf $(VENV) $(FULL) dist .pytest_cache .mypy_cache .ruff_cache

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*## .*/\1/p' $(MAKEFILE_LIST))
