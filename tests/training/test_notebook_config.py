"""A notebook's own names win over the recipe that it names."""

import json

import pytest

from metseg.base.errors import MetsegError
from metseg.training.config import train_config
from metseg.training.notebook_config import notebook_config

CELL = {"model": "unet", "data_dir": "data/phantom", "epochs": 3}


@pytest.fixture
def names(tmp_path) -> dict:
    """What a training notebook's kernel holds after its parameters cell, and a recipe that the cell names."""
    (tmp_path / "quick.yml").write_text(
        "epochs: 12\nrotation_deg: 20\nfilters: [4, 8]\ndeep_supervision: false\nmodels: [unet]\n"
    )
    (tmp_path / "mine.yml").write_text("epochs: 30\nfilters: [8, 16]\n")
    recipe = str(tmp_path / "mine.yml")
    return {**CELL, "recipe": recipe, "run_name": "first", "In": [""], "_i1": "epoch = 3", "json": json}


def test_the_cell_wins_over_its_recipe_and_that_over_the_one_all_start_from(names):
    expected = train_config(**CELL, rotation_deg=20, filters=(8, 16))
    assert notebook_config(names) == expected
    # papermill puts any name of the recipe into the notebook
    assert notebook_config({**names, "rotation_deg": 5}) == expected.changed(rotation_deg=5)
    del names["epochs"]  # from the cell
    assert notebook_config(names).learning.epochs == 30


def test_a_recipe_of_all_networks_gives_heads_to_the_nested_one_alone(names):
    names["deep_supervision"] = True
    assert not notebook_config(names).network.deep_supervision
    assert notebook_config({**names, "model": "nested_unet"}).network.deep_supervision


@pytest.mark.parametrize(("wrong", "meant"), [("epoch", "epochs"), ("learning_rates", "learning_rate")])
def test_a_misspelt_parameter_would_silently_keep_its_default(names, wrong, meant):
    with pytest.raises(MetsegError, match=f"'{wrong}' is no parameter .did you mean {meant}"):
        notebook_config({**names, wrong: 3})
    # whatever else a person keeps in a kernel is their own
    notebook_config({**names, "my_notes": "…", "total": 3, "models": ["unet"], wrong: object()})


def test_what_papermill_makes_of_typed_values_is_made_good(names):
    typed = {"filters": "[4, 8]", "epochs": "3", "data_dir": 2024, "clip_limit": 2}
    config = notebook_config({**names, **typed})
    assert (config.network.filters, config.learning.epochs, config.data_dir) == ((4, 8), 3, "2024")
    with pytest.raises(MetsegError, match=r"^filters='\[4': "):
        notebook_config({**names, "filters": "[4"})
