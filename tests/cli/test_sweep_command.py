"""`metseg sweep`: what it refuses before the first trial, and what it tells at the end."""

from pathlib import Path

import pytest

from metseg.workbook.sweep.table import read_sweep, write_results

SPEC = "name: clahe\nmodels: [unet]\ngrid: {epochs: [1, 2], image_size: [64]}\n"


@pytest.fixture
def spec(tmp_path, checkout) -> Path:
    path = tmp_path / "sweep.yml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def swept(monkeypatch) -> list:
    """What `run_sweep` was asked for; it writes a table at once, of one finished and one failed trial."""
    calls = []

    def record(plan, folder, *, on_start, on_change, **options):
        calls.append((folder, options))
        rows = [{"trial": point.name, **point.varied} for point in plan.grid()]
        rows[0] |= {"state": "done", "validation_dice": 0.7}
        rows[1] |= {"state": "failed", "reason": "no masks"} if options["failed_too"] is False else rows[0]
        on_start(None)
        write_results(folder, plan, rows)
        return read_sweep(folder)

    monkeypatch.setattr("metseg.workbook.sweep.run.run_sweep", record)
    return calls


def test_what_is_asked_for_and_what_is_told(metseg, spec, swept, checkout, tmp_path):
    status, out, err = metseg("sweep", spec, "--jobs", "3", "--storage", "postgresql://me:secret@db/s")
    assert (status, err) == (1, "")  # one failed
    ((folder, options),) = swept
    assert folder == checkout / "outputs" / "sweeps" / "clahe"
    assert (options["jobs"], options["scheduler"], options["failed_too"]) == (3, None, False)
    assert "2 trials" in out and "outputs/sweeps/clahe/results.csv" in out
    assert "optuna-dashboard 'postgresql://me:***@db/s'" in out and "secret" not in out
    assert "1 done, 1 failed" in out and "--resume" in out
    assert "unet-epochs1-image_size64-seed0, 0.700" in out
    assert "metseg train --model unet --profile quick --run-name clahe-best --set epochs=1" in out
    assert (folder / "sweep.yml").read_text() == SPEC
    status, out, _ = metseg("sweep", spec, "--resume", "--output-dir", "here")
    assert status == 0 and swept[-1][0] == tmp_path / "here" / "clahe" and swept[-1][1]["failed_too"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SPEC.replace("epochs", "epoch"), "no parameter 'epoch' (did you mean epochs?); valid: "),
        (SPEC.replace("[1, 2]", "[]"), "grid.epochs is empty"),
        (SPEC.replace("[1, 2]", "[1.5]"), "epochs is 1.5, but must be of the kind of 12"),
        (SPEC.replace("64", "10"), "image_size=10"),
        (SPEC.replace("unet", "unnet"), "no notebook trains 'unnet' (did you mean unet?)"),
    ],
)
def test_what_stops_before_the_first_trial(refused, spec, text, message):
    spec.write_text(text)
    assert message in refused("sweep", spec)


def test_no_such_file(refused, checkout):
    assert "cannot read absent.yml (No such file" in refused("sweep", "absent.yml")
