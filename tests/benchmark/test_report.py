"""A finished benchmark becomes files, whoever measured it."""

import json
from dataclasses import asdict, replace

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
    assert benchmark.limits.gflops == pytest.approx({"float32": 100, "bfloat16": 200})
    assert benchmark.headline().contestant.tolist() == ["metseg", "keras", "monai bfloat16 channels_last"]
    assert benchmark.scaling.exponent.tolist() == pytest.approx([1])
    assert benchmark.notes == []
    assert benchmark.verdicts == [
        "U-Net++, training, 128², batch 8: metseg (float32) is 0.50 times as fast as MONAI's fastest "
        "(bfloat16, channels_last); quartiles over rounds 0.50–0.50"
    ]


def test_verdict_on_inference(finished):
    benchmark = read_benchmark(finished())
    row = {**benchmark.results.iloc[0], "group": "inference", "task": "inference", "batch": 1}
    ours = {**row, "precision": "int8", "ratio_to_metseg": 1.0}
    ratios = {"ratio_low": 0.25, "ratio_to_metseg": 0.4, "ratio_high": 0.5}
    onnx = {**row, "library": "onnxruntime", "contestant": "onnxruntime", "precision": "float32", **ratios}
    (said,) = replace(benchmark, results=pd.DataFrame([ours, onnx])).verdicts
    assert said == (
        "U-Net++, inference, 128², one image: metseg (int8) is 2.50 times as fast as the same network "
        "in ONNX Runtime (float32); quartiles over rounds 2.00–4.00"
    )


def test_notes(finished):
    benchmark = read_benchmark(finished(left_out=("MONAI is left out: …",), other_cores=0.5))
    assert benchmark.notes == [
        "MONAI is left out: …",
        "the limits are too low: other work took 0.5 cores meanwhile",
        "5 of 5 rows were measured beside other work (up to 0.5 cores); measure again when it is quiet",
    ]


def test_files(finished):
    folder = finished()
    files = write_report(read_benchmark(folder), folder)
    names = ["results.csv", "scaling.csv", "benchmark.json", "speed.png", "roofline.png", "scaling.png"]
    assert files == [folder / name for name in names]
    assert all(path.stat().st_size > 0 for path in files)
    assert len(pd.read_csv(folder / "results.csv")) == 5
    limits = json.loads((folder / "benchmark.json").read_text())["limits"]
    assert limits["gb_per_s"] == pytest.approx(12)


def test_an_unfinished_one_is_one_sentence(finished):
    with pytest.raises(MetsegError, match="is not finished"):
        read_benchmark(finished(end=None))


def test_a_damaged_one_is_one_sentence(finished):
    folder = finished()
    (folder / "benchmark.json").write_text('{"finished": "2026-01-01", "plan": {"limits": [{}]}}')
    with pytest.raises(MetsegError, match="measure again in another folder"):
        read_benchmark(folder)
