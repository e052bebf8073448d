"""A finished benchmark becomes files, whoever measured it."""

import json
from dataclasses import asdict

import pandas as pd
import pytest

from metseg.base.errors import MetsegError
from metseg.base.files import write_json
from metseg.benchmark.report import read_benchmark, write_report


@pytest.fixture
def finished(tmp_path, limits_group, training_group, scaling_group):
    """A function that writes a benchmark of three groups, finished or not; returns its folder."""
    groups = {
        "limits": limits_group,
        "training-nested_unet": training_group,
        "scaling-training-nested_unet": scaling_group,
    }

    def write(*, end: str | None = "2026-01-01", left_out: tuple[str, ...] = (), other_cores: float = 0.0):
        for name, (_, found) in groups.items():
            for turns in found["rounds"]:
                for turn in turns.values():
                    turn["other_cores"] = other_cores
            write_json(tmp_path / "measurements" / f"{name}.json", found)
        plan = {name: [asdict(each) for each in group] for name, (group, _) in groups.items()}
        record = {"settings": {}, "plan": plan, "left_out": list(left_out), "finished": end}
        write_json(tmp_path / "benchmark.json", record)
        return tmp_path

    return write


def test_what_is_read(finished):
    benchmark = read_benchmark(finished())
    assert benchmark.limits == pytest.approx({"float32": 100, "bfloat16": 200})
    assert benchmark.headline().contestant.tolist() == ["metseg", "keras", "monai bfloat16 channels_last"]
    assert benchmark.scaling.exponent.tolist() == pytest.approx([1])
    assert benchmark.notes == []


def test_notes(finished):
    benchmark = read_benchmark(finished(left_out=("MONAI is left out: …",), other_cores=0.5))
    assert benchmark.notes == [
        "MONAI is left out: …",
        "7 of 7 contestants worked beside other work (up to 0.5 cores); measure again when it is quiet",
    ]


def test_files(finished):
    folder = finished()
    files = write_report(read_benchmark(folder), folder)
    names = ["results.csv", "scaling.csv", "benchmark.json", "speed.png", "scaling.png"]
    assert files == [folder / name for name in names]
    assert all(path.stat().st_size > 0 for path in files)
    assert len(pd.read_csv(folder / "results.csv")) == 5
    record = json.loads((folder / "benchmark.json").read_text())
    assert record["limits_gflops"] == pytest.approx({"float32": 100, "bfloat16": 200})


def test_an_unfinished_one_is_one_sentence(finished):
    with pytest.raises(MetsegError, match="is not finished"):
        read_benchmark(finished(end=None))


def test_a_damaged_one_is_one_sentence(finished):
    folder = finished()
    (folder / "benchmark.json").write_text('{"finished": "2026-01-01", "plan": {"limits": [{}]}}')
    with pytest.raises(MetsegError, match="measure again in another folder"):
        read_benchmark(folder)
