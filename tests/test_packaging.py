"""What is pinned, what is imported, and which module may know of which."""

import ast
import functools
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from tiny_runs import write_bright_model

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lib" / "metseg"
MODULES = sorted(PACKAGE.rglob("*.py"))
# What an import is called as a package, where that is not its own name.
DISTRIBUTION = {"cv2": "opencv-python-headless", "yaml": "pyyaml", "PIL": "pillow"}
DISTRIBUTION |= {"IPython": "ipython", "jupyter_client": "jupyter-client", "SimpleITK": "simpleitk"}
OTHER_BACKENDS = {"jax", "torch"}  # a user's own choice, imported only where Keras already runs on one
PEERS = {"torch", "monai"}  # an optional extra, which one process of the benchmark imports
PIN = re.compile(r"[a-z0-9_-]+(\[[a-z-]+\])?==\d[\w.]*")


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def environment() -> list[str]:
    """The lines of environment.yml."""
    return (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()


def name_of(path: Path) -> str:
    """The dotted name of a module of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@functools.cache
def imported_by(path: Path) -> set[str]:
    """Dotted names of all that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running some code."""
    code += "\nimport json, sys\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


# ---- pins ----


def test_both_lists_pin_the_same(project, environment):
    conda = yaml.safe_load("\n".join(environment))["dependencies"]
    (pip,) = (entry["pip"] for entry in conda if isinstance(entry, dict))
    assert sorted(project["dependencies"]) == sorted(entry for entry in pip if entry != "-e .")
    assert "-e ." in pip


def test_every_package_is_pinned_and_named_once(project):
    extras = [pin for pins in project["optional-dependencies"].values() for pin in pins]
    pins = [*project["dependencies"], *extras]
    assert [pin for pin in pins if not PIN.fullmatch(pin)] == []
    names = [pin.partition("==")[0] for pin in pins]  # tensorflow[and-cuda] is an extra of its own
    assert len(names) == len(set(names))


def test_every_line_of_the_environment_says_what_it_is_for(environment):
    # "- pip:" opens a list and names nothing; all other entries carry a comment of a word or more
    entries = [line for line in environment if line.strip().startswith("- ") and line.strip() != "- pip:"]
    assert len(entries) > 20
    assert [line for line in entries if not re.search(r"  # \w+", line)] == []
    conda = [line.strip("- ").split()[0] for line in entries if line.startswith("  - ")]
    assert all(re.fullmatch(r"[a-z]+=\d+(\.\d+)+", entry) for entry in conda)


def test_python_of_the_environment_is_the_oldest_allowed(project, environment):
    (oldest,) = re.findall(r"- python=([\d.]+)", "\n".join(environment))
    assert project["requires-python"].startswith(f">={oldest},<")


def test_what_is_imported_is_declared(project):
    declared = {pin.partition("==")[0] for pin in project["dependencies"]}
    imported = {name.split(".")[0] for path in MODULES for name in imported_by(path)}
    foreign = imported - set(sys.stdlib_module_names) - {"metseg"} - OTHER_BACKENDS - PEERS
    assert len(foreign) > 10
    assert {DISTRIBUTION.get(name, name.replace("_", "-")) for name in foreign} - declared == set()


def test_other_backends_are_imported_in_one_place():
    users = [p.name for p in MODULES if OTHER_BACKENDS & {n.split(".")[0] for n in imported_by(p)}]
    assert set(users) - {"hardware.py"} == {"with_torch.py"}


def test_peers_are_an_extra_that_one_module_imports(project):
    extra = {pin.partition("==")[0] for pin in project["optional-dependencies"]["benchmark"]}
    assert extra == PEERS
    assert [p.name for p in MODULES if any(n.startswith("monai") for n in imported_by(p))] == [
        "with_torch.py"
    ]
    users = [name_of(p) for p in MODULES if "metseg.benchmark.with_torch" in imported_by(p)]
    assert users == ["metseg.benchmark.worker"]


# ---- arrows ----


def reached_from(start: str) -> set[str]:
    """The modules of the package that a module imports, directly or through others."""
    direct = {name_of(path): imported_by(path) for path in MODULES}
    reached, todo = set(), [start]
    while todo:
        for name in direct.get(todo.pop(), ()):
            if name in direct and name not in reached:
                reached.add(name)
                todo.append(name)
    return reached


def test_nothing_imports_the_command_line():
    users = {
        path.parent.name for path in MODULES if any(n.startswith("metseg.cli") for n in imported_by(path))
    }
    assert users == {"cli"}


def test_only_the_models_know_keras_unet_collection():
    users = {p.parent.name for p in MODULES if any(n.startswith("keras_unet") for n in imported_by(p))}
    assert users == {"models"}


WITHOUT_TENSORFLOW = ("inference", "masks", "data", "metrics", "plots", "serve", "release", "workbook")


def test_scores_and_figures_need_no_tensorflow():
    modules = [path for path in MODULES if path.relative_to(PACKAGE).parts[0] in WITHOUT_TENSORFLOW]
    assert len(modules) > 60
    loaded = loaded_by("".join(f"import {name_of(path)}\n" for path in modules))
    assert {"cv2", "matplotlib", "metseg"} <= loaded
    assert loaded & {"tensorflow", "keras", "tf2onnx", "torch", "jax"} == set()


def test_serving_starts_without_what_it_never_uses():
    names = ["inference.predictor", "masks.postprocess", "masks.lesions", "masks.encode", "release.released"]
    names = [f"metseg.{name}" for name in [*names, "base.labels", "masks.colours"]]
    names += [name_of(path) for path in MODULES if path.is_relative_to(PACKAGE / "serve")]
    loaded = loaded_by("".join(f"import {name}\n" for name in names))
    assert {"cv2", "tifffile", "metseg"} <= loaded
    heavy = {"tensorflow", "keras", "tf2onnx", "torch", "jax", "matplotlib", "pandas", "scipy"}
    heavy |= {"nibabel", "pydicom", "highdicom", "SimpleITK"}
    heavy |= {"onnxruntime", "openvino"}  # a model takes one of the two
    assert loaded & heavy == set()


# What a command may load of all that is declared: more would be felt at every start.
OF_HELP = {"typer", "rich", "filelock"}
OF_PREDICT = OF_HELP | {"numpy", "cv2", "PIL", "tifffile", "imagecodecs", "pydantic", "onnxruntime"}


def declared_and_loaded_by(project: dict, *arguments: str) -> set[str]:
    """Of the packages that the project names, those that a successful command has loaded."""
    loaded = loaded_by(
        f"import sys\nfrom metseg.cli import main\nsys.argv = {['metseg', *arguments]}\n"
        "try:\n    main()\nexcept SystemExit as leaving:\n    assert not leaving.code"
    )
    assert "metseg" in loaded
    module_of = {distribution: module for module, distribution in DISTRIBUTION.items()}
    names = [pin.partition("==")[0] for pin in project["dependencies"]]
    return loaded & {module_of.get(name, name.replace("-", "_")) for name in names}


def test_help_loads_next_to_nothing(project):
    assert declared_and_loaded_by(project, "--help") <= OF_HELP


def test_predict_loads_what_it_needs_and_no_more(project, tmp_path, write_slice, noise):
    model = write_bright_model(tmp_path / "unet")
    image = write_slice(tmp_path, "scan_1", noise(1))
    options = {"--model": model, "--input": image, "--output": tmp_path / "masks"}
    arguments = [str(word) for option in options.items() for word in option]
    loaded = declared_and_loaded_by(project, "predict", *arguments)
    assert (tmp_path / "masks" / "scan_1_mask.tif").is_file()
    assert {"numpy", "onnxruntime"} <= loaded <= OF_PREDICT
