# Shorthand; `metseg --help` does the same without make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test lab dashboard clean

run: .venv/ready
	$(BIN)/metseg run

# nbval runs a copy, so that it trains anew and leaves your own runs alone; 09 shows reference tables.
test: .venv/ready
	$(BIN)/pytest -rs -n 2 --dist loadfile
	copy=$$(mktemp -d) && mkdir $$copy/outputs && cp -r outputs/reference $$copy/outputs && cp -r notebooks $$copy && \
	$(BIN)/pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=900 -p no:cacheprovider $$copy/notebooks; \
	status=$$?; rm -rf $$copy; exit $$status

# Without the look at whether there is a newer JupyterLab.
lab: .venv/ready
	$(BIN)/jupyter lab --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.news_url=None notebooks

dashboard: .venv/ready
	$(BIN)/metseg dashboard

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

# Trained models in outputs/runs stay.
clean:
	rm -rf .venv outputs/cache
