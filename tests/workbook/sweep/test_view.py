"""What a terminal and a log show."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from metseg.workbook.sweep.view import SweepView


@pytest.fixture
def sweep():
    told = {"epoch": 3, "epochs": 12, "dice": [0.1, 0.25], "seconds_left": 65.0}
    running = {
        "unet-a": SimpleNamespace(progress=told, attempts=1),
        "unet-b": SimpleNamespace(progress={}, attempts=2),
    }
    rows = {"unet-0": {"state": "done", "validation_dice": 0.7, "seconds": 61.0}}
    rows |= {name: {"state": "running"} for name in running} | {"unet-c": {"state": "waiting"}}
    ledger = SimpleNamespace(rows=rows, plan=SimpleNamespace(count=4))
    return SimpleNamespace(ledger=ledger, running=running, machines={"here": 2})


def shown(sweep, *, terminal: bool) -> str:
    console = Console(force_terminal=terminal, width=120, record=True, color_system=None)
    with console.capture() as seen, SweepView(console) as view:
        view(sweep)
        sweep.ledger.rows["unet-a"] = {"state": "done", "validation_dice": 0.65, "seconds": 3700.0}
        sweep.ledger.rows["unet-b"] = {"state": "failed", "reason": "no [masks]"}
        view(sweep)
        view(sweep)
    return seen.get()


def test_a_log_has_a_line_a_finished_trial(sweep):
    assert shown(sweep, terminal=False).splitlines() == [
        "[2/4] unet-a: done · validation Dice 0.650 · 1:01 h",
        "[3/4] unet-b: failed · no [masks]",
    ]


def test_a_terminal_shows_those_under_way(sweep):
    text = shown(sweep, terminal=True)
    assert "1 of 4 trials · 1 done · best validation Dice 0.700" in text
    row = next(line for line in text.splitlines() if "3/12" in line)
    assert "unet-a" in row and "0.250" in row and "1:05 min" in row
    assert "3 of 4 trials · 2 done · 1 failed" in text and "left" in text
    sweep.machines = {}
    assert "waiting for workers" in shown(sweep, terminal=True)
