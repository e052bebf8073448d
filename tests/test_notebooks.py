"""What every committed notebook holds to."""

import ast
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import yaml
from tiny_scans import write_scans

from metseg.training.config import TrainConfig, notebook_config
from metseg.workbook.parameters import check_parameters, notebook_parameters, read_profile
from metseg.workbook.run import numbered_notebooks, run_notebooks

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


def read_recipe() -> dict:
    return yaml.safe_load((FOLDER / "params" / "quick.yml").read_text(encoding="utf-8"))


def test_all_are_here():
    stems = [path.stem for path in NOTEBOOKS]
    assert stems[:5] == [
        "01_explore_data",
        "02_preprocessing",
        "03_train_nested_unet",
        "04_train_attention_unet",
        "04b_train_unet",
    ]
    assert {path.name for path in TRAINING} == {f"{stem}.ipynb" for stem in stems[2:5]}


@each_notebook
def test_opening(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(rf"# {path.name.partition('_')[0]} · \S", first.source)


@each_notebook
def test_parameters_cell(path):
    code = cells_of(path, "code")
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == code[:1]
    lines = lines_of(tagged[0])
    parameters = notebook_parameters(path)  # raises unless all are plain literals
    assert len(parameters) == len(lines) == len(ast.parse(tagged[0].source).body)
    assert [p.name for p in parameters.values() if not re.search(r"\w", p.help)] == []
    if path.stem != "02_preprocessing":  # which writes nothing
        assert "run_name" in parameters and parameters["output_dir"].default == "../outputs/runs"


@each_notebook
def test_is_short_and_defines_nothing(path):
    code = cells_of(path, "code")
    assert len(code) <= 15
    assert sum(len(lines_of(cell)) for cell in code) <= 120
    for cell in code:
        tree = ast.parse(cell.source)  # a line of magic or of shell is no Python
        nodes = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        assert not any(isinstance(node, nodes) for node in ast.walk(tree))


@each_notebook
def test_steps_are_about_ten_lines(path):
    for cell in cells_of(path, "code"):
        is_list = re.match(r"config = train_config\(|from |import ", cell.source)
        if not is_list and "parameters" not in cell.metadata.get("tags", []):
            assert len(lines_of(cell)) <= 10, cell.source


@each_notebook
def test_carries_no_outputs(path):
    for cell in cells_of(path, "code"):
        assert cell.outputs == [] and cell.execution_count is None
        assert set(cell.metadata) <= {"tags"}


@each_notebook
def test_all_imports_stand_in_one_cell(path):
    importing = [
        number
        for number, cell in enumerate(cells_of(path, "code"))
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(ast.parse(cell.source)))
    ]
    assert importing == [1]  # right behind the parameters


@each_notebook
def test_every_import_is_used(path):
    tree = ast.parse("\n".join(cell.source for cell in cells_of(path, "code")))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {(a.asname or a.name).split(".")[0] for node in imports for a in node.names}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert names - used == set()


@pytest.mark.parametrize(("path", "following"), list(pairwise(NOTEBOOKS)))
def test_ends_with_a_link_to_the_next(path, following):
    last = nbformat.read(path, as_version=4).cells[-1]
    assert last.cell_type == "markdown"
    ((title, target),) = re.findall(r"\[([^]]+)\]\(([^)]+)\)", last.source)
    assert target == following.name
    assert nbformat.read(following, as_version=4).cells[0].source.startswith(f"# {title}")


@each_notebook
def test_links_lead_somewhere(path):
    text = "\n".join(cell.source for cell in cells_of(path, "markdown"))
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@each_notebook
def test_names_no_person_and_no_machine(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/home/|/Users/|/root/|[A-Z]:\\\\|\w@\w+\.\w", text)
    metadata = nbformat.read(path, as_version=4).metadata
    assert set(metadata) <= {"kernelspec", "language_info"}
    assert metadata.kernelspec.name == "python3"
    assert metadata.language_info == {"name": "python"}  # no version: it would change with whoever saves


# ---- trainings ----


@each_training
def test_training_declares_every_field_of_its_config(path):
    parameters = notebook_parameters(path)
    model = parameters["model"].default
    applying = set(TrainConfig.model_fields) - (set() if model == "nested_unet" else {"deep_supervision"})
    assert set(parameters) - {"run_name", "output_dir", "cache_dir", "restart"} == applying
    defaults = {name: parameters[name].default for name in applying}
    assert TrainConfig(**defaults).model == model
    assert path.stem.endswith(f"_train_{model}")


@each_notebook
def test_nothing_takes_a_parameters_place(path):
    assigned = {
        node.id
        for cell in cells_of(path, "code")[1:]
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    assert not assigned & notebook_parameters(path).keys()


@each_training
def test_the_configuration_is_that_of_the_parameters_cell(path, monkeypatch):
    monkeypatch.chdir(FOLDER)
    code = cells_of(path, "code")
    (builds,) = (k for k, cell in enumerate(code) if "notebook_config(globals())" in cell.source)
    assert builds == 2
    names: dict = {}
    exec(code[0].source, names)
    config = notebook_config(names)
    defaults = {name: p.default for name, p in notebook_parameters(path).items()}
    defaults = {name: value for name, value in defaults.items() if name in TrainConfig.model_fields}
    assert config == TrainConfig(**defaults)


def test_trainings_differ_in_the_network_alone():
    def common(path: Path) -> dict:
        parameters = notebook_parameters(path)
        return {
            n: (p.default, p.help) for n, p in parameters.items() if n not in ("model", "deep_supervision")
        }

    first, *others = map(common, TRAINING)
    assert all(other == first for other in others)
    assert len({notebook_parameters(path)["model"].default for path in TRAINING}) == len(TRAINING)


def test_a_name_means_the_same_everywhere():
    texts: dict[str, Counter] = {}
    for path in NOTEBOOKS:
        for name, parameter in notebook_parameters(path).items():
            texts.setdefault(name, Counter())[repr(parameter.default)] += 1
    assert {name: dict(seen) for name, seen in texts.items() if len(seen) > 1 and name != "model"} == {}


@each_notebook
def test_papermill_reads_the_parameters_as_we_do(path):
    """Its own reader loses a line whose comment holds an equals sign, and warns of each such parameter."""
    from papermill import inspect_notebook

    theirs = {name: each["help"] for name, each in inspect_notebook(path).items()}
    assert theirs == {name: each.help for name, each in notebook_parameters(path).items()}


@each_notebook
def test_a_parameters_cell_holds_the_recipe(path):
    """A cell that was edited and saved would change what a person sees first, though no command."""
    recipe = read_recipe()
    recipe |= recipe.get(path.stem, {})
    parameters = notebook_parameters(path)
    assert {name: each.default for name, each in parameters.items()} == {n: recipe[n] for n in parameters}


def test_the_library_starts_from_the_recipe_too():
    recipe = read_recipe()
    fields = {name: field.default for name, field in TrainConfig.model_fields.items()}
    del fields["model"], fields["data_dir"]  # these two have no default
    in_yaml = {name: list(each) if isinstance(each, tuple) else each for name, each in fields.items()}
    assert in_yaml == {name: recipe[name] for name in fields}


def test_profiles_speak_of_declared_parameters_alone():
    declared = {name for path in NOTEBOOKS for name in notebook_parameters(path)}
    profiles = list((FOLDER / "params").glob("*"))
    assert {"quick.yml", "cpu.yml", "gpu.yml"} == {profile.name for profile in profiles}
    for profile in profiles:
        values = yaml.safe_load(profile.read_text(encoding="utf-8"))
        own = {path.stem for path in NOTEBOOKS} | {"run_name", "output_dir"}
        assert set(values) - (own if profile.stem == "quick" else set()) <= declared - {"model"} - own


@each_training
def test_no_name_of_a_notebook_is_taken_for_a_misspelt_parameter(path):
    """Its cells may be run again in any order."""
    names = {
        node.id: 0
        for cell in cells_of(path, "code")[1:]
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Name)
    }
    assert {"network", "history", "choices"} <= names.keys()
    notebook_config({**names, **{name: each.default for name, each in notebook_parameters(path).items()}})


def test_profiles_give_valid_configs():
    for profile in (FOLDER / "params").glob("*.yml"):
        values = read_profile(profile.stem, FOLDER)
        check_parameters(values, NOTEBOOKS)
        for path in TRAINING:
            defaults = {name: p.default for name, p in notebook_parameters(path).items()}
            merged = {n: values.get(n, d) for n, d in defaults.items() if n in TrainConfig.model_fields}
            TrainConfig(**merged)


@pytest.mark.slow
def test_papermill_may_be_called_from_another_folder(tmp_path):
    """What is given starts there, what is not is found in the checkout."""
    given = ["-p", "run_name", "2024", "-p", "output_dir", "runs"]
    command = [sys.executable, "-m", "papermill", FOLDER / "09_ablation.ipynb", "executed.ipynb", *given]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "2024" / "ablation" / "ablation.png").is_file()
    assert "unknown parameter" not in done.stderr


@pytest.mark.slow
def test_a_training_that_holds_nobody_out_runs_to_its_end(tmp_path):
    values = {
        "data_dir": str(write_scans(tmp_path / "scans")),
        "cache_dir": str(tmp_path / "cache"),
        "test_fraction": 0.0,
        "image_size": 32,
        "filters": [4, 8],
        "epochs": 1,
    }
    run_notebooks([FOLDER / "04b_train_unet.ipynb"], values, run_folder=tmp_path / "runs" / "all")
    model_dir = tmp_path / "runs" / "all" / "unet"
    assert (model_dir / "model.onnx").exists() and not (model_dir / "evaluation").exists()
