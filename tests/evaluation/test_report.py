"""Two made-up networks whose scores are known by hand, compared and written down."""

import json
import math
import shutil

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from tiny_runs import DATA, HALF, MISSED, NOTHING, WHOLE, write_evaluated

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, write_json
from metseg.evaluation import report
from metseg.evaluation.report import read_comparison, read_examples, write_comparison
from metseg.metrics.compare import DEFINITIONS

P1, P2, P10 = "P_1_20000101", "P_2_20000101", "P_10_20000101"
FIGURES = ["summary", "patients", "lesion_load", "examples_of_best", "paired_attention_unet_unet"]


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    before, settings = plt.get_fignums(), plt.rcParams.copy()
    yield
    left = plt.get_fignums()
    plt.close("all")
    plt.rcParams.update(settings)
    assert left == before


@pytest.fixture
def run(tmp_path):
    """Dice of P_10, P_1, P_2: attention_unet 0, 1, 0 (mean 1/3); unet 0.5, 0.5, 1 (mean 2/3)."""
    folder = tmp_path / "runs" / "first"
    write_evaluated(folder, "attention_unet", {P10: MISSED, P1: WHOLE, P2: MISSED}, seconds=None)
    write_evaluated(folder, "unet", {P10: HALF, P1: HALF, P2: WHOLE}, seconds=90.0)
    return folder


@pytest.fixture
def unsaved(monkeypatch):
    """Figures are drawn and closed, but not written, which takes most of the time."""
    monkeypatch.setattr(report, "save_figure", lambda axes, path: plt.close(np.ravel(axes)[0].figure) or path)


def strictly(path) -> dict:
    """A JSON file, but for what JSON does not know: NaN and the infinities."""

    def refuse(name: str):
        raise AssertionError(f"{path.name} holds {name}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


# ---- what is read ----


def test_summary_by_hand(run):
    comparison = read_comparison([run])
    assert comparison.best == "unet"
    assert list(comparison.summary.model) == list(comparison.tables) == ["unet", "attention_unet"]
    unet, attention = comparison.summary.to_dict("records")
    assert unet["dice_mean"] == pytest.approx(2 / 3) and unet["dice_median"] == 0.5
    assert attention["dice_mean"] == pytest.approx(1 / 3) and attention["dice_median"] == 0
    # 12 px of reference each; unet predicts 12 and hits 8, attention_unet predicts 4 and hits all
    assert unet["pooled_dice"] == pytest.approx(2 * 8 / 24)
    assert attention["pooled_dice"] == pytest.approx(2 * 4 / 16)
    assert attention["n_hd95_infinite"] == 2 and math.isinf(attention["hd95_median"])
    assert unet["n_patients"] == attention["n_patients"] == 3
    assert comparison.predict_nothing == 0.5  # every second slice is empty
    assert (comparison.data, comparison.caution) == (DATA["name"], DATA["caution"])
    assert comparison.folders == {name: (run / name,) for name in ("attention_unet", "unet")}
    assert comparison.dice.index.tolist() == ["P_1", "P_10", "P_2"]
    assert comparison.dice.to_numpy().tolist() == [[0.5, 1.0], [0.5, 0.0], [1.0, 0.0]]  # best first
    (pair,) = comparison.pairs.to_dict("records")
    assert (pair["model_a"], pair["model_b"], pair["n"]) == ("unet", "attention_unet", 3)
    assert pair["mean_difference"] == pytest.approx(1 / 3)


def test_what_predicts_nothing_is_never_the_best(run, unsaved):
    path = run / "unet" / "manifest.json"
    write_json(path, {**read_json(path), "predicts_nothing": True})
    comparison = read_comparison([run])
    assert list(comparison.summary.model) == ["unet", "attention_unet"]  # the table stays as it is
    assert (comparison.best, comparison.first) == ("attention_unet", "attention_unet")
    manifest = {"validation_dice": 0.0, "train_seconds": 60.0}  # of a training that does not tell
    write_json(run / "attention_unet" / "manifest.json", manifest)
    comparison = read_comparison([run])
    assert (comparison.best, comparison.first) == (None, "unet")
    write_comparison(comparison, run / "comparison")
    record = read_json(run / "comparison" / "comparison.json")
    assert record["best"] is None and record["predicts_nothing"] == ["attention_unet", "unet"]


def test_single_networks_of_several_runs(run, tmp_path):
    shutil.copytree(run, tmp_path / "again")
    comparison = read_comparison([run / "unet", tmp_path / "again" / "unet"])
    assert set(comparison.folders) == {f"{run.name}/unet", "again/unet"}
    assert list(read_comparison([run / "unet"]).folders) == ["unet"]


def test_costs(run):
    unet, attention = read_comparison([run]).summary.to_dict("records")
    assert {*DEFINITIONS, "parameters", "seconds_per_slice", "validation_dice", "encoder"} < {*unet}
    assert (unet["parameters"], unet["seconds_per_slice"], unet["train_minutes"]) == (1000, 0.25, 1.5)
    assert math.isnan(attention["train_minutes"])  # a released model comes without its manifest


def test_several_runs_are_told_apart(run, unsaved, tmp_path):
    other = run.parent / "second"
    write_evaluated(other, "unet", {P1: WHOLE, P2: WHOLE, P10: WHOLE})
    comparison = read_comparison([run, other])
    assert list(comparison.dice) == ["second/unet", "first/unet", "first/attention_unet"]
    assert comparison.best == "second/unet"
    assert comparison.folders["first/unet"] == (run / "unet",)
    assert len(comparison.pairs) == 3
    written = write_comparison(comparison, tmp_path / "out")
    assert {path.parent for path in written} == {tmp_path / "out"}
    assert sum(path.name.startswith("paired_") for path in written) == 3


def test_folders_of_a_network(run):
    comparison = read_comparison([run])
    assert comparison.folders_of("unet") == (run / "unet",)
    with pytest.raises(MetsegError, match="no scores of 'nested' here; valid are (unet|attention_unet), "):
        comparison.folders_of("nested")


def test_runs_of_one_name_are_refused(run, tmp_path):
    other = tmp_path / "elsewhere" / "first"
    write_evaluated(other, "unet", {P1: WHOLE, P2: WHOLE, P10: WHOLE})
    with pytest.raises(MetsegError, match="both first/unet; rename one run's folder"):
        read_comparison([run, other])


def test_other_patients_are_refused(run):
    write_evaluated(run, "nested_unet", {P1: WHOLE, P2: WHOLE})
    with pytest.raises(MetsegError, match=r"P_10_20000101.*compare runs with the same data and split"):
        read_comparison([run])


def test_run_that_is_missing_or_unfinished(run):
    with pytest.raises(MetsegError, match=r"there is no run .*absent; finished runs here: first"):
        read_comparison([run.parent / "absent"])
    (run.parent / "empty" / "unet").mkdir(parents=True)
    with pytest.raises(MetsegError, match="empty holds no evaluated model.*; finished ones here: first"):
        read_comparison([run.parent / "empty"])


def test_patient_without_lesion_and_prediction(tmp_path):
    write_evaluated(tmp_path, "unet", {P1: NOTHING, P2: HALF})
    comparison = read_comparison([tmp_path])
    assert comparison.summary.dice_mean.tolist() == [0.5]
    assert comparison.summary.n_dice_undefined.tolist() == [1]
    assert np.isnan(comparison.dice.unet["P_1"])
    assert {title.split()[1] for title in read_examples(comparison, "unet")} == {"P_2"}


# ---- examples ----


def test_examples_are_the_patients_own(tmp_path):
    """P_10 comes first and begins like P_1; the grey of an image tells whose it is."""
    write_evaluated(tmp_path, "unet", {P10: WHOLE, P1: MISSED, P2: HALF})
    examples = read_examples(read_comparison([tmp_path]), "unet")
    assert {title: int(image.max()) for title, (image, _, _) in examples.items()} == {
        "worst: P_1\nvolume Dice 0.00": 20,
        "median: P_2\nvolume Dice 0.50": 30,
        "best: P_10\nvolume Dice 1.00": 10,
    }
    image, mask_ref, mask_pred = examples["median: P_2\nvolume Dice 0.50"]
    assert image.shape == (8, 8, 3)
    assert np.array_equal(mask_ref, WHOLE[0]) and np.array_equal(mask_pred, HALF[0])


def test_example_of_a_patient_with_two_scans_is_the_fullest(tmp_path):
    write_evaluated(tmp_path, "unet", {P1: NOTHING, "P_1_20010101": HALF})
    examples = read_examples(read_comparison([tmp_path]), "unet")
    assert [int(image.max()) for image, _, _ in examples.values()] == [20, 20, 20]


@pytest.mark.parametrize("content", [b"", b"PK\3\4 and no more"])
def test_damaged_examples_are_one_sentence(tmp_path, content):
    folder = write_evaluated(tmp_path, "unet", {P1: WHOLE})
    (folder / "evaluation" / "examples.npz").write_bytes(content)
    comparison = read_comparison([tmp_path])
    with pytest.raises(MetsegError, match=r"examples.npz is missing or damaged; call: metseg export .*unet"):
        read_examples(comparison, "unet")
    write_json(folder / "evaluation" / "evaluation.json", {})
    with pytest.raises(MetsegError, match=r"evaluation.json is damaged \(KeyError\('parameters'\)\); call"):
        read_comparison([tmp_path])


def test_examples_of_no_dice_at_all(tmp_path):
    write_evaluated(tmp_path, "unet", {P1: NOTHING, P2: NOTHING})
    with pytest.raises(MetsegError, match="no held-out patient of unet has a Dice"):
        read_examples(read_comparison([tmp_path]), "unet")


# ---- what is written ----


def test_files(run, tmp_path):
    folder = tmp_path / "new" / "comparison"
    comparison = read_comparison([run])
    written = write_comparison(comparison, folder)
    tables = ["summary.csv", "pairs.csv", "dice_per_patient.csv", "comparison.json"]
    assert [path.name for path in written] == tables + [f"{name}.png" for name in FIGURES]
    assert sorted(written) == sorted(folder.iterdir())
    for name in FIGURES:
        assert np.ptp(matplotlib.image.imread(folder / f"{name}.png")) > 0.5

    summary = pd.read_csv(folder / "summary.csv")
    assert summary.model.tolist() == ["unet", "attention_unet"]
    assert math.isinf(summary.hd95_median[1])
    assert len(pd.read_csv(folder / "pairs.csv")) == 1
    dice = pd.read_csv(folder / "dice_per_patient.csv", index_col="patient_id")
    pd.testing.assert_frame_equal(dice, comparison.dice)

    record = strictly(folder / "comparison.json")
    assert record["best"] == "unet"
    assert (record["data"], record["caution"]) == (DATA["name"], DATA["caution"])
    assert record["slice_dice_empty1_of_predicting_nothing"] == 0.5
    unet, attention = record["summary"]
    assert unet["dice_mean"] == pytest.approx(2 / 3)
    assert attention["hd95_median"] is None and attention["n_hd95_infinite"] == 2
    assert attention["train_minutes"] is None
    assert record["pairs"][0]["mean_difference"] == pytest.approx(1 / 3)
    assert record["definitions"] == DEFINITIONS


def test_one_network(tmp_path, unsaved):
    write_evaluated(tmp_path / "run", "nested_unet", {P1: WHOLE})
    comparison = read_comparison([tmp_path / "run"])
    written = write_comparison(comparison, tmp_path / "out")
    assert [path.name for path in written if path.name.startswith("paired")] == []
    assert "examples_of_best.png" in {path.name for path in written}
    record = strictly(tmp_path / "out" / "comparison.json")
    assert record["pairs"] == []
    assert record["summary"][0]["dice_mean_low"] is None  # one patient has no spread


def test_folder_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MetsegError, match="cannot write"):
        write_comparison(read_comparison([run]), tmp_path / "file" / "comparison")
