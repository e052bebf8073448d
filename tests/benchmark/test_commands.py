"""The commands, with workers that answer at once."""

import json
import sys

import pytest

from metseg import cli
from metseg.benchmark import plan
from metseg.benchmark.plan import Settings

# Products and a training, two steps of each.
SMALL = Settings(
    networks=("nested_unet",), filters=(2, 4), train_size=16, train_batch=2, inference_sizes=(16,),
    inference_batches=(2,), scaling_sizes=(), matrix_sides=(16,), rounds=1,
    turn_seconds=0.01, peers=False,
)  # fmt: skip


@pytest.fixture
def metseg(monkeypatch, capsys):
    """A function that runs a command in this process: (exit status, stdout, stderr)."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["metseg", "benchmark", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as leaving:
            status = leaving.code or 0
        return status, *capsys.readouterr()

    return run


@pytest.mark.usefixtures("fake")
def test_speed(metseg, monkeypatch, tmp_path):
    monkeypatch.setitem(plan.SCOPES, "tiny", SMALL)
    status, out, err = metseg("speed", "--scope", "tiny", "--output-dir", tmp_path)
    assert (status, err) == (0, "")
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("benchmark-")
    record = json.loads((folder / "benchmark.json").read_text())
    assert record["finished"] and set(record["limits_gflops"]) == {"float32", "bfloat16"}
    for name in ("training", "inference", "keras", "onnxruntime", "Tables and figures"):
        assert name in out
    assert (folder / "results.csv").is_file() and (folder / "speed.png").is_file()


def test_a_wrong_scope_is_one_sentence(metseg, tmp_path):
    status, out, err = metseg("speed", "--scope", "huge", "--output-dir", tmp_path)
    assert (status, out, err) == (2, "", "metseg: no scope 'huge'; valid: full, short, tiny\n")
    assert list(tmp_path.iterdir()) == []


def test_both_benchmarks_are_listed(metseg):
    status, out, _ = metseg("--help")
    assert status == 0 and "speed" in out and "service" in out
