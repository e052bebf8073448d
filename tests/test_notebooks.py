"""What every committed notebook holds to."""

import ast
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import yaml
from tiny_scans import write_scans

from metseg.base.recipe import read_recipe
from metseg.training.config import PARAMETERS, config_among, train_config
from metseg.training.notebook_config import notebook_config
from metseg.workbook.parameters import check_parameters, defaults_of, notebook_parameters, read_profile
from metseg.workbook.run import command_values, numbered_notebooks, run_notebooks

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = numbered_notebooks(FOLDER)
TRAINING = [path for path in NOTEBOOKS if "_train_" in path.stem]
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
each_training = pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)


def cells_of(path: Path, kind: str) -> list:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def lines_of(cell) -> list[str]:
    return [line for line in cell.source.splitlines() if line.strip()]


def names_in(path: Path, kind: type = ast.AST) -> set[str]:
    """The names in a notebook's code behind its parameters, of one kind of use."""
    nodes = [node for cell in cells_of(path, "code")[1:] for node in ast.walk(ast.parse(cell.source))]
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}


def test_all_are_here():
    assert [path.stem for path in NOTEBOOKS[:5]] == [
        "01_explore_data",
        "02_preprocessing",
        "03_train_nested_unet",
        "04_train_attention_unet",
        "04b_train_unet",
    ]
    assert NOTEBOOKS[2:5] == TRAINING


@each_notebook
def test_opening(path):
    first = nbformat.read(path, as_version=4).cells[0]
    title, _, text = first.source.partition("\n")
    assert first.cell_type == "markdown"
    assert re.fullmatch(rf"# {path.name.partition('_')[0]} · \S.*", title)
    assert re.search(r"\b(seconds?|minutes?|hours?)\b", text)  # how long it takes


@each_notebook
def test_parameters_cell(path):
    """About a dozen plain values, each with a comment, that papermill reads as we do."""
    from papermill import inspect_notebook

    code = cells_of(path, "code")
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == code[:1]
    parameters = notebook_parameters(path)  # raises unless all are plain literals
    assert len(parameters) == len(lines_of(tagged[0])) == len(ast.parse(tagged[0].source).body) <= 15
    theirs = inspect_notebook(path)
    assert theirs.keys() == parameters.keys()
    assert [name for name, each in theirs.items() if not re.search(r"\w", each["help"])] == []
    if path.stem != "02_preprocessing":  # which writes nothing
        assert "run_name" in parameters
        assert {"output_dir", "recipe"} & parameters.keys()


@each_notebook
def test_code_is_short_and_defines_nothing(path):
    code = cells_of(path, "code")
    assert len(code) <= 15
    assert sum(len(lines_of(cell)) for cell in code) <= 120
    for cell in code:
        assert cell.outputs == [] and cell.execution_count is None
        assert set(cell.metadata) <= {"tags"}
        tree = ast.parse(cell.source)  # a line of magic or of shell is no Python
        nodes = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        assert not any(isinstance(node, nodes) for node in ast.walk(tree))
        if not re.match(r"from |import ", cell.source) and cell is not code[0]:
            assert len(lines_of(cell)) <= 10, cell.source


@each_notebook
def test_imports_stand_in_one_cell_and_are_used(path):
    trees = [ast.parse(cell.source) for cell in cells_of(path, "code")]
    imports = {
        number: [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        for number, tree in enumerate(trees)
    }
    assert [number for number, found in imports.items() if found] == [1]  # right behind the parameters
    names = {(a.asname or a.name).split(".")[0] for node in imports[1] for a in node.names}
    assert names - names_in(path) == set()


@pytest.mark.parametrize(("path", "following"), list(pairwise(NOTEBOOKS)))
def test_ends_with_a_link_to_the_next(path, following):
    last = nbformat.read(path, as_version=4).cells[-1]
    assert last.cell_type == "markdown"
    ((title, target),) = re.findall(r"\[([^]]+)\]\(([^)]+)\)", last.source)
    assert target == following.name
    assert nbformat.read(following, as_version=4).cells[0].source.startswith(f"# {title}")


@each_notebook
def test_text_leads_somewhere_and_tells_nothing_of_whoever_wrote_it(path):
    text = "\n".join(cell.source for cell in cells_of(path, "markdown"))
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("https://") or (path.parent / target).exists(), target
    assert re.findall(r"\b0\.\d{2,}", text) == []  # a result would be wrong after the next run
    assert not re.search(r"/home/|/Users/|/root/|[A-Z]:\\\\|\w@\w+\.\w", path.read_text(encoding="utf-8"))
    metadata = nbformat.read(path, as_version=4).metadata
    assert set(metadata) <= {"kernelspec", "language_info"}
    assert metadata.kernelspec.name == "python3"
    assert metadata.language_info == {"name": "python"}  # no version: it would change with whoever saves


# ---- cells and recipes ----


@each_notebook
def test_nothing_takes_a_parameters_place(path):
    assert not names_in(path, ast.Store) & notebook_parameters(path).keys()


def test_each_parameter_stands_in_one_place_of_the_recipe():
    text = (FOLDER / "params" / "quick.yml").read_text(encoding="utf-8")
    names = re.findall(r"^(\w+):", text, re.MULTILINE)
    assert len(names) == len(set(names))
    assert PARAMETERS.keys() - {"model"} <= set(names)
    taken = {name for path in NOTEBOOKS for name in defaults_of(path)} - {"model"}
    assert set(names) - {path.stem for path in NOTEBOOKS} == taken


@each_notebook
def test_a_parameters_cell_holds_the_recipe(path):
    """A cell that was edited and saved would change what a person sees first, though no command."""
    start = defaults_of(path)
    assert notebook_parameters(path) == {name: start[name] for name in notebook_parameters(path)}


def test_the_library_starts_from_the_recipe_too():
    recipe = read_recipe(FOLDER / "params" / "quick.yml")
    fields = PARAMETERS.keys() - {"model", "data_dir"}  # these two have no default
    defaults = train_config(model="unet", data_dir="").flat()
    assert {name: defaults[name] for name in fields} == {name: recipe[name] for name in fields}


@each_training
def test_a_training_takes_every_parameter(path, monkeypatch):
    """From its cell or from the recipe, in JupyterLab, by papermill and by commands alike."""
    monkeypatch.chdir(FOLDER)
    start, values = defaults_of(path), notebook_parameters(path)
    own = {"run_name", "recipe", "output_dir", "cache_dir", "restart", "channel"}
    but = set() if start["model"] == "nested_unet" else {"deep_supervision"}
    assert set(start) - own == PARAMETERS.keys() - but
    assert path.stem.endswith(f"_train_{start['model']}")
    expected = train_config(model=start["model"], data_dir="../data/phantom")
    assert notebook_config(values) == config_among(start) == expected
    assert notebook_config({**values, "rotation_deg": 5}) == expected.changed(rotation_deg=5)
    # its cells may be run again in any order, and none of its names is a misspelt parameter
    assert notebook_config({**dict.fromkeys(names_in(path) - PARAMETERS.keys(), 0), **values}) == expected


def test_trainings_differ_in_the_network_alone():
    def common(path: Path) -> dict:
        own = ("model", "deep_supervision")
        return {name: each for name, each in notebook_parameters(path).items() if name not in own}

    first, *others = map(common, TRAINING)
    assert all(other == first for other in others)


@pytest.mark.parametrize("profile", sorted(path.stem for path in (FOLDER / "params").glob("*.yml")))
def test_profiles_give_valid_configs(profile):
    check_parameters(read_profile(profile, FOLDER), NOTEBOOKS)
    for path in NOTEBOOKS:
        start = {**defaults_of(path), **command_values(profile, {}, [path])}
        if "recipe" in start:  # notebooks 06 and 08 name the network later
            config_among({"model": "nested_unet", **start})
    if profile != "quick":  # real scans: nothing is left small for speed
        small = [name for name in ("06_smaller_faster", "08_cross_validation")]
        settings = read_profile(profile, FOLDER)
        recipe = yaml.safe_load((FOLDER / "params" / "quick.yml").read_text(encoding="utf-8"))
        assert {name for stem in small for name in recipe[stem]} <= settings.keys()
        assert settings["scope"] != "tiny"


@pytest.mark.slow
def test_papermill_may_be_called_from_another_folder(tmp_path):
    """What is given starts there, what is not is found in the checkout."""
    given = ["-p", "run_name", "2024", "-p", "output_dir", "runs"]
    command = [sys.executable, "-m", "papermill", FOLDER / "09_ablation.ipynb", "executed.ipynb", *given]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "2024" / "ablation" / "ablation.png").is_file()
    assert "unknown parameter" not in done.stderr
    assert "came with the workbook" in (tmp_path / "executed.ipynb").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_training_that_holds_nobody_out_runs_to_its_end(tmp_path):
    values = {
        "data_dir": str(write_scans(tmp_path / "scans")),
        "cache_dir": str(tmp_path / "cache"),
        "test_fraction": 0.0,
        "image_size": 32,
        "filters": [4, 8, 16],
        "epochs": 1,
    }
    run_notebooks([FOLDER / "04b_train_unet.ipynb"], values, run_folder=tmp_path / "runs" / "all")
    model_dir = tmp_path / "runs" / "all" / "unet"
    assert (model_dir / "model.onnx").exists() and not (model_dir / "evaluation").exists()
