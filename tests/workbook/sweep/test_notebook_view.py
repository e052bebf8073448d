"""A running sweep as a notebook follows it."""

import asyncio
import json

import pytest

from metseg.base.files import sole_writer
from metseg.workbook.sweep.notebook_view import follow_sweep, is_running, linked
from metseg.workbook.sweep.table import read_sweep, write_results


@pytest.fixture
def sweep(plan_of, tmp_path):
    """A folder and a function that writes its table, where the second of two trials is as told."""
    plan = plan_of(grid={"rate": [0.1, 0.2]})
    folder, points = tmp_path / "<s>", list(plan.grid())
    folder.mkdir()

    def write(**second) -> None:
        rows = [{"trial": point.name, **point.varied, "state": "waiting"} for point in points]
        known = {"validation_dice": 0.75, "seconds": 61.4, "notebook": "trials/a.ipynb", "reason": "<b>"}
        rows[0] |= {"state": "done", **known}
        rows[1] |= second
        write_results(folder, plan, rows)

    write()
    return folder, write


def test_whether_one_runs(sweep):
    folder, _ = sweep
    assert not is_running(folder) and follow_sweep(folder) is None
    with sole_writer(folder):
        assert is_running(folder)
    assert not is_running(folder)


def test_followed_to_its_end(sweep):
    folder, write = sweep
    run = folder / "trials" / "x" / "unet"
    run.mkdir(parents=True)

    async def watch() -> list[str]:
        with sole_writer(folder):
            widget = follow_sweep(folder, every=0.01)
            await asyncio.sleep(0.05)
            seen = [widget.value]
            write(state="running", run_folder="trials/x/unet")
            await asyncio.sleep(0.05)
            (run / "progress.json").write_text(json.dumps({"epoch": 2, "epochs": 7, "val_dice": 0.625}))
            await asyncio.sleep(0.05)
            seen.append(widget.value)
            (run / "progress.json").write_text("{")  # half-written
            (folder / "results.csv").write_text("")
            await asyncio.sleep(0.05)
            seen.append(widget.value)
            write(state="failed")
        await asyncio.wait_for(widget.task, timeout=5)
        return [*seen, widget.value]

    waiting, running, damaged, ended = asyncio.run(watch())
    assert "1 of 2 trials" in waiting and "&lt;s&gt;" in waiting and "2/7" not in waiting
    assert "2/7" in running and "0.625" in running and "0.750" in running
    assert "results.csv" in damaged
    assert "2 of 2 trials" in ended and "1 failed" in ended and "has ended" in ended


def test_links_to_executed_copies(sweep, monkeypatch):
    folder, _ = sweep
    monkeypatch.chdir(folder)
    (folder / "trials").mkdir()
    (folder / "trials" / "a.ipynb").touch()
    shown = linked(read_sweep(folder)[["trial", "seconds", "reason", "notebook"]]).to_html()
    assert '<a href="trials/a.ipynb">a</a>' in shown and shown.count("<a ") == 1
    assert "&lt;b&gt;" in shown and "61" in shown


def test_of_a_killed_sweep_no_trial_runs(sweep):
    folder, write = sweep

    async def watch() -> str:
        with sole_writer(folder):
            widget = follow_sweep(folder, every=0.01)
            write(state="running", run_folder="trials/x/unet")
        await asyncio.wait_for(widget.task, timeout=5)
        return widget.value

    shown = asyncio.run(watch())
    assert "1 interrupted" in shown and "running" not in shown
