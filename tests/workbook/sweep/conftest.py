"""A checkout with a stub notebook for each of two networks: it sleeps, fails or writes a score, as asked."""

import json
from pathlib import Path

import pytest
import yaml

from metseg.workbook.sweep.plan import Plan
from metseg.workbook.sweep.spec import read_spec

QUICK = {"run_name": "x", "output_dir": "../outputs/runs", "rate": 0.5, "loss": "bce", "epochs": 2, "seed": 0}
QUICK |= {"filters": [4, 8], "flip": True, "seconds": 0.0, "fault": ""}
CELL = "\n".join(f"{name} = {value!r}" for name, value in QUICK.items())
# What a training leaves: an epoch a line, then the score; `fault` says what goes wrong, and when.
BODY = """
import json, os, signal, subprocess, time
from pathlib import Path
run = Path(output_dir, run_name, model)
run.mkdir(parents=True, exist_ok=True)
with open(run / "calls.txt", "a") as calls:
    calls.write(f"{os.getpid()} {os.getppid()}\\n")
calls = len((run / "calls.txt").read_text().splitlines())
history = run / "history.csv"
done = len(history.read_text().splitlines()) - 1 if history.exists() else 0
if not done:
    history.write_text("epoch,val_dice,seconds\\n")
dice = 0.9 - abs(rate - 0.3) - (0.05 if loss == "bce" else 0) - 0.01 * seed
for epoch in range(done, epochs):
    time.sleep(seconds / epochs)
    shown = dice * (epoch + 1) / epochs
    with open(history, "a") as rows:
        rows.write(f"{epoch + 1},{shown},{seconds / epochs}\\n")
    known = dict(model=model, epoch=epoch + 1, epochs=epochs, step=1, steps=1, loss=0.5, seconds_left=0.0)
    known |= dict(finished_epochs=epoch + 1, last_loss=0.5, val_dice=shown, note="", resumed_after=done)
    (run / "progress.json").write_text(json.dumps(known))
    if fault == "raise":
        raise ValueError("rate is no good")
    if fault == "die" or (fault == "die once" and calls == 1):
        subprocess.Popen(["sleep", "300"])
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if fault == "full" and calls == 1:
        raise OSError(28, "No space left on device", str(history))
    if fault == "greedy":
        hoard = bytearray(400 * 2**20)
        hoard[::4096] = b"x" * len(hoard[::4096])
        time.sleep(60)
patients = {"P_1": dice - 0.2, "P_2": dice, "P_3": dice + 0.1, "P_4": dice + 0.05, "P_5": dice + 0.05}
known = {"validation_dice": dice, "validation_dice_of_patients": patients}
(run / "model.json").write_text(json.dumps(known))
"""


def write_stub(path: Path, model: str) -> None:
    """Writes a notebook that passes for the one that trains a network."""

    def cell(source: str, *tags: str) -> dict:
        kind = {"cell_type": "code", "execution_count": None, "outputs": [], "metadata": {"tags": [*tags]}}
        return {**kind, "id": f"c{len(source)}", "source": source}

    cells = [cell(f"model = {model!r}\n{CELL}", "parameters"), cell(BODY)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook))


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    (folder / "params").mkdir(parents=True)
    for number, model in (("03", "unet"), ("04", "attention_unet")):
        write_stub(folder / f"{number}_train_{model}.ipynb", model)
    of_each = {
        f"{k}_train_{model}": {"model": model} for k, model in (("03", "unet"), ("04", "attention_unet"))
    }
    (folder / "params" / "quick.yml").write_text(yaml.safe_dump({**QUICK, **of_each}))
    return folder


@pytest.fixture
def plan_of(tmp_path: Path, notebooks: Path):
    """A function that writes a sweep.yml and returns its plan."""

    def make(**entries) -> Plan:
        path = tmp_path / "sweep.yml"
        path.write_text(yaml.safe_dump({"name": "s", "models": ["unet"], **entries}, sort_keys=False))
        return Plan(read_spec(path), notebooks)

    return make
