"""Recipes name parameters of `quick.yml` alone, and are laid over it."""

import pytest

from metseg.base.errors import MetsegError
from metseg.base.recipe import notebook_settings, read_changes, read_recipe


def test_a_recipe_is_laid_over_the_one_that_all_start_from(tmp_path):
    (tmp_path / "quick.yml").write_text("epochs: 12\nlearning_rate: 2e-3\n")
    (tmp_path / "lgg.yml").write_text("learning_rate: 1e-3\n")
    assert read_changes(tmp_path / "lgg.yml") == {"learning_rate": 0.001}  # a number, as in Python
    assert read_recipe(tmp_path / "lgg.yml") == {"epochs": 12, "learning_rate": 0.001}
    names = {"recipe": str(tmp_path / "lgg.yml"), "epochs": 3, "other": 1}
    assert vars(notebook_settings(names)) == {"epochs": 3, "learning_rate": 0.001}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", r"lgg.yml: no parameter 'epoch' \(did you mean epochs\?\); valid: epochs"),
        ("- epochs", "no mapping of parameters"),
        ("epochs: [", "not readable YAML"),
        (None, "not readable YAML: No such file"),
    ],
)
def test_a_recipe_that_is_none(tmp_path, text, message):
    (tmp_path / "quick.yml").write_text("epochs: 12\n")
    if text:
        (tmp_path / "lgg.yml").write_text(text)
    with pytest.raises(MetsegError, match=message):
        read_recipe(tmp_path / "lgg.yml")
