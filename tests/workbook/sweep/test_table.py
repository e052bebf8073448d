"""results.csv, and what a notebook reads of it."""

import os
import shlex
from itertools import pairwise

import pytest

from metseg.base.errors import MetsegError
from metseg.workbook.parameters import parse_assignments
from metseg.workbook.sweep.table import command_of, read_sweep, write_results


@pytest.fixture
def plan(plan_of):
    return plan_of(
        grid={"filters": [[4, 8], [8]], "loss": ["bce", "focal"], "rate": [0.1]}, set={"epochs": 3}
    )


def test_a_row_a_point(plan, tmp_path):
    points = list(plan.grid())
    rows = [{"trial": point.name, **point.varied, "state": "waiting"} for point in points]
    done = {"epochs": 3, "seconds": 1.5, "attempts": 1, "machine": "here", "run_folder": "trials/a/unet"}
    rows[0] |= {"state": "done", "validation_dice": 0.5, **done, "notebook": "trials/a/n.ipynb", "reason": ""}
    rows[1] |= {"state": "failed", "reason": 'no, "such"\nfile'}
    write_results(tmp_path, plan, rows)
    table = read_sweep(tmp_path)
    assert [*table.columns] == [
        *(
            "trial",
            "model",
            "filters",
            "loss",
            "rate",
            "seed",
            "state",
            "validation_dice",
            "epochs",
            "seconds",
        ),
        *("attempts", "machine", "run_folder", "notebook", "reason"),
    ]
    assert [*table.filters] == ["[4, 8]", "[4, 8]", "[8]", "[8]"] and [*table.rate] == [0.1] * 4
    assert [*table.validation_dice.notna()] == [True, False, False, False]
    assert table.run_folder[0] == os.path.join(tmp_path, "trials", "a", "unet") and table.run_folder[1] == ""
    assert table.reason[1] == 'no, "such"\nfile' and table.state[3] == "waiting"


def test_the_command_that_trains_it_again(plan, tmp_path):
    write_results(tmp_path, plan, [{"trial": p.name, **p.varied} for p in plan.grid()])
    command = command_of(plan, read_sweep(tmp_path).iloc[1])
    assert command.startswith("metseg train --model unet --profile quick --run-name s-best --set ")
    parts = shlex.split(command)
    settings = parse_assignments(b for a, b in pairwise(parts) if a == "--set")
    assert settings == {"epochs": 3, "filters": [4, 8], "loss": "focal", "rate": 0.1, "seed": 0}


@pytest.mark.parametrize(
    ("scans", "told"), [("../data/a b", "data/a b"), ("s3://bucket/x", "COPY OF s3://bucket/x")]
)
def test_the_command_names_the_scans_by_their_option(plan, tmp_path, monkeypatch, scans, told):
    monkeypatch.chdir(tmp_path)
    plan.spec.set["data_dir"] = scans
    row = {"model": "unet", "filters": "[8]", "loss": "bce", "rate": 0.1, "seed": 0}
    parts = shlex.split(command_of(plan, row))
    assert parts[parts.index("--data-dir") + 1] == told and not any("data_dir" in part for part in parts)


def test_no_table(tmp_path):
    with pytest.raises(MetsegError, match="results.csv is missing or damaged"):
        read_sweep(tmp_path)
