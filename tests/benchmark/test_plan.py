"""Who measures what: peers only where they are installed, one baseline for all ratios."""

from collections import Counter

import pytest

from metseg.base.errors import MetsegError
from metseg.base.files import write_json
from metseg.benchmark import plan as planning
from metseg.benchmark.plan import Measurement, missing_peers, plan, released_precisions
from metseg.benchmark.settings import SCOPES, Settings, settings_of
from metseg.benchmark.table import BASELINE

SERVING = {"attention_unet": "bfloat16", "nested_unet": "int8"}


def test_the_full_plan(tmp_path):
    groups = plan(Settings(), tmp_path, peers=True, serving=SERVING)
    kinds = Counter(group.name.split("-")[0] for group in groups)
    assert kinds == {"limits": 1, "training": 2, "profile": 1, "inference": 2 * 2 * 2, "scaling": 2 * 2 + 1}
    assert len({group.name for group in groups}) == len(groups)
    for group in groups:
        assert len({measurement.key for measurement in group.measurements}) == len(group.measurements)
        if group.name.startswith(("training", "inference")):
            assert [measurement.contestant for measurement in group.measurements].count(BASELINE) == 1
            assert sum(measurement.library == "monai" for measurement in group.measurements) == 4


def test_keras_itself_is_measured_in_metsegs_precision(tmp_path):
    groups = {group.name: group for group in plan(Settings(), tmp_path, peers=False, serving=SERVING)}
    for name, library in (
        ("training-nested_unet", "keras"),
        ("inference-nested_unet-128-batch8", "tensorflow"),
    ):
        found = [m.precision for m in groups[name].measurements if m.library == library]
        assert found == ["float32", "bfloat16"]


def test_the_short_plan_is_training_and_inference(tmp_path):
    groups = plan(SCOPES["short"], tmp_path, peers=True, serving=SERVING)
    assert {group.name.split("-")[0] for group in groups} == {"limits", "training", "profile", "inference"}


def test_ratios_are_to_what_is_released(tmp_path):
    for group in plan(Settings(), tmp_path, peers=False, serving=SERVING):
        if group.name.startswith("inference"):
            (base,) = (
                measurement for measurement in group.measurements if measurement.contestant == BASELINE
            )
            assert base.precision == SERVING[base.network]
            assert base.path.endswith("model.int8.onnx" if base.precision == "int8" else "model.onnx")
            ours = {
                measurement.precision for measurement in group.measurements if measurement.library == "metseg"
            }
            assert ours == {"int8", "bfloat16", "float32"}


@pytest.mark.parametrize(("entry", "precision"), [({}, "float32"), ({"precision": "bf16"}, "bfloat16")])
def test_what_is_released(monkeypatch, tmp_path, entry, precision):
    monkeypatch.setattr(planning, "released_dir", lambda: tmp_path)
    monkeypatch.setattr(planning, "native", lambda precision: precision)
    write_json(tmp_path / "nested_unet" / "model.json", entry)
    networks = ("nested_unet", "attention_unet")
    assert released_precisions(networks) == {"nested_unet": precision, "attention_unet": "float32"}


def test_a_released_network_that_is_damaged_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(planning, "released_dir", lambda: tmp_path)
    write_json(tmp_path / "nested_unet" / "model.json", {"precision": "fp7"})
    with pytest.raises(MetsegError, match="damaged .precision 'fp7'.; export the model again"):
        released_precisions(("nested_unet",))


def test_without_peers_nobody_needs_them(tmp_path):
    for group in plan(Settings(), tmp_path, peers=False, serving=SERVING):
        assert not any(measurement.library == "monai" for measurement in group.measurements)


def test_what_is_empty_is_left_out(tmp_path):
    settings = Settings(networks=(), data_slices=(), scaling_sizes=())
    assert [group.name for group in plan(settings, tmp_path, peers=True, serving=SERVING)] == ["limits"]


def test_the_name_of_a_contestant():
    assert Measurement("metseg", "training").contestant == "metseg"
    assert Measurement("monai", "training", precision="bfloat16").contestant == "monai bfloat16"


def test_peers_that_are_missing(monkeypatch):
    monkeypatch.setattr(planning, "find_spec", lambda name: None if name == "monai" else object())
    assert missing_peers() == ["monai"]


def test_scopes():
    assert settings_of("full") == Settings()
    assert settings_of("tiny", rounds=5) == SCOPES["tiny"].model_copy(update={"rounds": 5})
    with pytest.raises(MetsegError, match="no scope 'huge'; valid: full, short, tiny"):
        settings_of("huge")
