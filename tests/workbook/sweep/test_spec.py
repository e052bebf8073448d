"""What sweep.yml may say, and what is said of a wrong one."""

from pathlib import Path

import pytest

from metseg.base.errors import MetsegError
from metseg.workbook.sweep.spec import read_spec

SPEC = """
name: clahe
models: [unet, attention_unet]
set: {epochs: 3}
grid:
  loss: [bce, focal]
  rate: {from: 0.1, to: 0.3, step: 0.1}
  epochs_: {from: 2, to: 7, step: 2}
seeds: [0, 1]
"""


@pytest.fixture
def read(tmp_path: Path):
    def read(text: str):
        (tmp_path / "sweep.yml").write_text(text)
        return read_spec(tmp_path / "sweep.yml")

    return read


def test_lists_and_ranges(read):
    spec = read(SPEC)
    assert spec.grid == {"loss": ["bce", "focal"], "rate": [0.1, 0.2, 0.3], "epochs_": [2, 4, 6]}
    assert all(type(value) is int for value in spec.grid["epochs_"])
    assert (spec.profile, spec.seeds, spec.search) == ("quick", [0, 1], None)


def test_a_search(read):
    search = "search: {trials: 9, parameters: {rate: {low: 1e-4, high: 0.1, log: true}, loss: [bce, focal]}}"
    spec = read(f"name: s\nmodels: [unet]\n{search}")
    assert spec.search.parameters["rate"].ends == [1e-4, 0.1]
    assert spec.search.parameters["loss"].ends == ["bce", "focal"]
    assert (spec.search.sampler, spec.search.pruner) == ("tpe", "none")


START = "name: s\nmodels: [unet]\n"
SEARCH = START + "search: {trials: 1, parameters: {rate: "
WRONG = {
    "name: [": "no mapping|not readable YAML",
    "- 1": "no mapping",
    "name: s": "'models' is missing",
    "name: a/b\nmodels: [unet]": "'a/b' is no folder name",
    START + "gird: {}": r"no entry 'gird' \(did you mean grid\?\); valid: grid, models, ",
    START + "grid: {rate: 1}": "grid.rate is 1, but must be a list",
    "name: s\nmodels: unet": "models is 'unet', but must be a list",
    "name: s\nmodels: []": "models is empty, but must be one value or more",
    "name: 2024\nmodels: [unet]": "name is 2024, but must be a text; put quotes",
    START + "grid: {1: [2]}": "grid.1 is 1, but must be a text",
    START + "set: epochs": "set is 'epochs', but must be a mapping",
    START + "seeds: [1.5]": "seeds.0 is 1.5, but must be a whole number",
    START + "grid: {rate: {from: 1, to: x, step: 1}}": "to is 'x', but must be a number",
    START + "seeds: [0]\nseeds: [1]": "'seeds' twice",
    START + "grid:\n  rate: [1]\n  rate: [2]": "'rate' twice",
    START + "grid: {rate: []}": "grid.rate is empty",
    START + "grid: {rate: {from: 3, to: 1, step: 1}}": "3 to 1 is an empty range",
    START + "grid: {rate: {from: 1, to: 3}}": "rate: 'step' is missing",
    START + "grid: {rate: {from: 1, until: 3, step: 1}}": "rate: 'to' is missing|valid: from, step, to",
    START + "grid: {rate: {from: 0, to: 1, step: 1e-9}}": "more than 100000 values",
    START + "grid: {rate: [1, 1]}": "grid.rate has 1 twice",
    START + "grid: {seed: [1]}": "name seeds under seeds",
    START + "set: {rate: 1}\ngrid: {rate: [1]}": "rate is under set and varied",
    START + "search: {trials: 0, parameters: {rate: [1]}}": "search.trials",
    SEARCH + "{low: 1}}}": "low and high, or choices",
    SEARCH + "{low: 2, high: 1}}}": "empty range",
    SEARCH + "{low: 0, high: 1, log: true}}}": "logarithm",
    START + "search: {trials: 1, sampler: grid, parameters: {rate: [1]}}": "'random' or 'tpe'",
    START + "search: {trials: 1, prune: x, parameters: {rate: [1]}}": "did you mean pruner",
    SEARCH + "{lo: 1}}}": "valid: choices, high, log, low",
    START + "search: {trials: 1, pruner: patients, parameters: {rate: [1]}}": "give two seeds or more",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(read, text):
    with pytest.raises(MetsegError, match=rf"(?s)sweep.yml.*({WRONG[text]})") as error:
        read(text)
    assert "\n" not in str(error.value)
