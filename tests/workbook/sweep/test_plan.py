"""Points, their names, and what stops before the first one."""

from pathlib import Path

import pytest

from metseg.base.errors import MetsegError
from metseg.base.paths import project_root
from metseg.workbook.sweep.plan import Plan
from metseg.workbook.sweep.spec import read_spec


def test_a_grid_is_every_combination_a_seed_after_the_other(plan_of):
    grid = {"rate": [0, 0.3], "loss": ["bce", "focal"]}
    plan = plan_of(models=["unet", "attention_unet"], grid=grid, seeds=[0, 1], set={"epochs": 3})
    points = list(plan.grid())
    assert plan.count == len(points) == 16
    assert [point.varied["seed"] for point in points] == [0] * 8 + [1] * 8
    assert points[0].name == "unet-rate0-bce-seed0"
    assert points[-1].name == "attention_unet-rate0.3-focal-seed1"
    assert len({point.name for point in points}) == 16
    assert points[0].values == {
        **{"model": "unet", "rate": 0.0, "loss": "bce", "epochs": 3, "seed": 0, "filters": [4, 8]},
        **{"flip": True, "seconds": 0.0, "fault": ""},
    }
    assert [point.notebook.name for point in points[:5:4]] == [
        "03_train_unet.ipynb",
        "04_train_attention_unet.ipynb",
    ]


def test_names_of_points_that_look_alike(plan_of):
    grid = {"fault": ["a b", "a_b"], "rate": [0.123456, 0.123457], "filters": [[4, 8], [4]]}
    names = [point.name for point in plan_of(grid=grid).grid()]
    assert len(set(names)) == 8
    assert names[0].startswith("unet-a_b-rate0.1235-filters4x8-seed0-")
    assert all(name.isascii() and " " not in name for name in names)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"models": ["unnet"]}, r"'unnet' \(did you mean unet\?\)"),
        ({"profile": "gpu"}, "no profile 'gpu'"),
        ({"set": {"ratte": 1}}, r"no parameter 'ratte' \(did you mean rate\?\); valid: epochs, "),
        ({"grid": {"ratte": [1]}}, r"unet: no parameter 'ratte' \(did you mean rate\?\)"),
        ({"grid": {"rate": [0.1, "x"]}}, "rate is 'x', but must be of the kind of 0.5"),
        ({"grid": {"epochs": [1.5]}}, "epochs is 1.5"),
        ({"search": {"trials": 1, "parameters": {"epochs": {"low": 1, "high": 2.5}}}}, "epochs is 2.5"),
        ({"search": {"trials": 1, "parameters": {"loss": ["bce", 3]}}}, "loss is 3, but"),
    ],
)
def test_what_stops_before_the_first_trial(plan_of, entries, message):
    with pytest.raises(MetsegError, match=message):
        plan_of(**entries)


@pytest.mark.parametrize(("name", "count"), [("quick", 8), ("search", 48)])
def test_the_examples_are_right(name, count):
    folder = Path(__file__).resolve().parents[3] / "notebooks"
    assert Plan(read_spec(folder / "sweeps" / f"{name}.yml"), folder).count == count


def test_limits_of_clahe_that_are_one_and_the_same_are_said(tmp_path):
    notebooks, spec = project_root() / "notebooks", tmp_path / "sweep.yml"
    for size, told in ((96, True), (128, False)):
        spec.write_text(
            f"{{name: x, models: [unet], set: {{image_size: {size}}}, grid: {{clip_limit: [0, 1, 2, 4]}}}}"
        )
        notes = Plan(read_spec(spec), notebooks).notes
        assert len(notes) == told and all(each.startswith("clip_limit 1 and 2 are one") for each in notes)
