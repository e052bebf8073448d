"""Who measures what: peers only where they are installed, one baseline for all ratios."""

from collections import Counter

import pytest

from metseg.base.errors import MetsegError
from metseg.base.files import write_json
from metseg.benchmark import plan as planning
from metseg.benchmark.plan import (
    SCOPES,
    Measurement,
    Settings,
    missing_peers,
    plan,
    served_precision,
    settings_of,
)
from metseg.benchmark.table import BASELINE

SERVED = {"attention_unet": "bfloat16", "nested_unet": "int8"}


@pytest.fixture
def served(monkeypatch):
    monkeypatch.setattr(planning, "served_precision", SERVED.get)


@pytest.mark.usefixtures("served")
def test_the_full_plan():
    groups = plan(Settings(), peers=True)
    kinds = Counter(name.split("-")[0] for name in groups)
    assert kinds == {"limits": 1, "training": 2, "inference": 2 * 2 * 2, "scaling": 2 * 2}
    for name, group in groups.items():
        assert len({each.key for each in group}) == len(group)
        if name.startswith(("training", "inference")):
            assert [each.contestant for each in group].count(BASELINE) == 1
            assert Counter(each.library for each in group)["monai"] == 4
        if name.startswith("inference"):
            (base,) = (each for each in group if each.contestant == BASELINE)
            assert base.precision == SERVED[base.network]


def test_what_is_left_out():
    groups = plan(SCOPES["short"], peers=False)
    assert {name.split("-")[0] for name in groups} == {"limits", "training", "inference"}
    assert {each.library for group in groups.values() for each in group} == {
        "machine", "metseg", "keras", "onnxruntime",
    }  # fmt: skip
    keras = [each.precision for each in groups["training-nested_unet"] if each.library == "keras"]
    assert keras == ["float32", "bfloat16"]  # one of them is metseg's
    assert list(plan(Settings(networks=()), peers=True)) == ["limits"]


@pytest.mark.parametrize(("entry", "precision"), [({}, "float32"), ({"precision": "bf16"}, "bfloat16")])
def test_what_is_released(monkeypatch, tmp_path, entry, precision):
    monkeypatch.setattr(planning, "released_dir", lambda: tmp_path)
    monkeypatch.setattr(planning, "native", lambda precision: precision)
    write_json(tmp_path / "lgg-nested_unet" / "model.json", entry)
    assert served_precision("nested_unet") == precision
    assert served_precision("attention_unet") == "float32"


def test_the_name_of_a_contestant():
    assert Measurement("metseg", "training").contestant == "metseg"
    assert Measurement("monai", "training", precision="bfloat16").contestant == "monai bfloat16"
    assert Measurement("metseg", "inference", precision="int8").contestant == "metseg"


def test_peers_that_are_missing(monkeypatch):
    monkeypatch.setattr(planning, "find_spec", lambda name: None if name == "monai" else object())
    assert missing_peers() == ["monai"]


def test_scopes():
    assert settings_of("full") == Settings()
    assert settings_of("tiny", rounds=5) == SCOPES["tiny"].model_copy(update={"rounds": 5})
    with pytest.raises(MetsegError, match="full, short, tiny"):
        settings_of("huge")
