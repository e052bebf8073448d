"""A run in a log and on a terminal."""

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from metseg.workbook.display import Event, RunDisplay


def state(epoch: int, step: int, val_dice: float | None, done: bool = False) -> dict:
    known = {"model": "unet", "epoch": epoch, "epochs": 3, "step": step, "steps": 4, "loss": 0.5}
    finished = epoch if done else epoch - 1
    known |= {"finished_epochs": finished, "last_loss": 0.75 if finished else None}
    return known | {"val_dice": val_dice, "seconds_left": 0.0 if done else 94.0, "done": done}


def events_of_a_run() -> list[Event]:
    notebook = Path("03_train_unet.ipynb")
    states = [state(1, 2, None), state(2, 1, 0.25), state(2, 3, 0.25), state(3, 4, 0.625, done=True)]
    return [
        Event("started", "quick", notebook, 2, 4),
        Event("cell", "quick", notebook, 2, 4, cell=3, cells=9),
        *[Event("training", "quick", notebook, 2, 4, training=training) for training in states],
        Event("finished", "quick", notebook, 2, 4, seconds=3700.0),
    ]


def test_lines_in_a_log():
    console = Console(file=io.StringIO())
    with RunDisplay(console) as display:
        for event in events_of_a_run():
            display(event)
    assert console.file.getvalue().splitlines() == [
        "[2/4] quick: 03_train_unet started",
        "  unet: epoch 1 of 3 · loss 0.750 · validation Dice 0.250 · 1:34 min left",
        "  unet: epoch 3 of 3 · loss 0.750 · validation Dice 0.625",
        "[2/4] quick: 03_train_unet finished in 1 h 1 min",
    ]


def test_that_a_network_predicts_nothing_is_said_and_stays():
    for terminal in (False, True):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
        with RunDisplay(console) as display:
            for event in events_of_a_run():
                if event.training:
                    event = replace(event, training=event.training | {"note": "predicts nothing"})
                display(event)
        assert console.file.getvalue().count("predicts nothing") == 2  # a line an epoch


def test_where_a_training_was_resumed_is_said_once():
    console = Console(file=io.StringIO())
    display = RunDisplay(console)
    for event in events_of_a_run()[1:]:
        if event.training and event.training["epoch"] > 1:
            event = replace(event, training=event.training | {"resumed_after": 1})
            display(event)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "  unet: resumed at epoch 2" and lines[1].startswith("  unet: epoch 3 of 3")


def test_a_line_that_moves_on_a_terminal():
    console = Console(file=io.StringIO(), force_terminal=True, width=200, _environ={"TERM": "xterm"})
    with RunDisplay(console) as display:
        for event in events_of_a_run()[:-2]:
            display(event)
    shown = console.file.getvalue()
    moving = "notebook 2 of 4 · cell 3 of 9 · epoch 2/3 · loss 0.500 · validation Dice 0.250 · 1:34 min left"
    assert moving in shown and "  unet: epoch 1 of 3" in shown
