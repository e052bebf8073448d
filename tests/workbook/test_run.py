"""Tiny notebooks without any network, built here, stand in for the workbook's."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from filelock import FileLock

from metseg.base.errors import MetsegError
from metseg.workbook.display import Event
from metseg.workbook.parameters import (
    as_typed,
    check_parameters,
    defaults_of,
    edits_told,
    notebook_parameters,
    parse_assignments,
    read_profile,
)
from metseg.workbook.run import (
    command_values,
    numbered_notebooks,
    run_notebooks,
    training_notebook,
    training_settings,
)

RUN = 'run_name = "quick"  # folder of this run\noutput_dir = "../outputs/runs"  # parent of all runs\n'


def write_notebook(path: Path, parameters: str | None, *cells: str, tagged: int = 1) -> Path:
    """A notebook with one heading, `tagged` parameters cells and the given code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {path.stem}")])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for _ in range(tagged if parameters is not None else 0):
        notebook.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    notebook.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The notebooks/ folder of an empty checkout."""
    (tmp_path / "notebooks").mkdir()
    return tmp_path / "notebooks"


def sources(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


def printed(path: Path) -> str:
    """All that the cells of an executed copy printed."""
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


# ---- what the notebooks say ----


def test_order_of_the_notebooks(folder):
    for stem in ("05_compare", "04b_train_unet", "dashboard", "04_train_attention_unet", "01_explore_data"):
        write_notebook(folder / f"{stem}.ipynb", RUN)
    stems = [path.stem for path in numbered_notebooks(folder)]
    assert stems == ["01_explore_data", "04_train_attention_unet", "04b_train_unet", "05_compare"]


def test_training_notebook_of_a_model(folder):
    write_notebook(folder / "01_explore_data.ipynb", RUN)
    nested = write_notebook(folder / "03_train_nested_unet.ipynb", 'model = "nested_unet"')
    write_notebook(folder / "04b_train_unet.ipynb", 'model = "unet"')
    assert training_notebook("nested_unet", folder) == nested
    with pytest.raises(MetsegError, match=r"'nested'.*did you mean nested_unet.*valid: nested_unet, unet"):
        training_notebook("nested", folder)


def test_parameters_of_a_notebook(folder):
    cell = "epochs = 8  # passes, 0 = all\nfilters = [\n 8,\n]\nrate: float = 1e-3\nseed = None\nof = '#f'"
    notebook = write_notebook(folder / "03_train.ipynb", cell)
    expected = {"epochs": 8, "filters": [8], "rate": 1e-3, "seed": None, "of": "#f"}
    assert notebook_parameters(notebook) == expected


@pytest.mark.parametrize(
    ("cell", "tagged", "message"),
    [
        (None, 0, "no cell tagged 'parameters'"),
        ("epochs = 8", 2, "2 cells tagged 'parameters'"),
        ("epochs = 2 * steps", 1, "more than plain values"),
        ("import os", 1, "more than plain values"),
        ("a, b = 1, 2", 1, "more than plain values"),
        ("epochs = ", 1, "more than plain values"),
    ],
)
def test_a_parameters_cell_that_is_none(folder, cell, tagged, message):
    notebook = write_notebook(folder / "03_train.ipynb", cell, tagged=tagged)
    with pytest.raises(MetsegError, match=f"03_train.ipynb.*{message}"):
        notebook_parameters(notebook)


def test_a_notebook_that_is_none(folder):
    (folder / "01_broken.ipynb").write_text("{")
    with pytest.raises(MetsegError, match="01_broken.ipynb is not a readable notebook"):
        notebook_parameters(folder / "01_broken.ipynb")
    with pytest.raises(MetsegError, match="No such file"):
        notebook_parameters(folder / "02_absent.ipynb")


def test_profiles(folder):
    assert read_profile("quick", folder) == {}
    (folder / "params").mkdir()
    (folder / "params" / "lgg.yml").write_text("epochs: 50\nfilters: [16, 32]\n")
    assert read_profile("lgg", folder) == {"epochs": 50, "filters": [16, 32]}
    with pytest.raises(MetsegError, match=r"no profile 'lg' \(did you mean lgg\?\); valid: lgg, quick"):
        read_profile("lg", folder)


def test_assignments():
    typed = ["epochs=3", "filters=[8,16]", "exclude_empty=true", "loss=focal", "rate=1e-3", "note=a=b"]
    assert parse_assignments(typed) == {
        "epochs": 3,
        "filters": [8, 16],
        "exclude_empty": True,
        "loss": "focal",
        "rate": 1e-3,
        "note": "a=b",
    }


@pytest.mark.parametrize("typed", ["epochs", "=3", "a b=3", "filters=[8,16"])
def test_no_assignment(typed):
    with pytest.raises(MetsegError, match="write it like epochs=3") as error:
        parse_assignments([typed])
    assert typed in str(error.value)


# ---- the check ----

TYPED = "epochs = 8\nrate = 0.5\nfilters = (8, 16)\nloss = 'dice'\nempty = True\nlimit = None\n"


@pytest.fixture
def typed_notebook(folder):
    return write_notebook(folder / "03_train.ipynb", TYPED + RUN)


@pytest.mark.parametrize(
    "values",
    [{"epochs": 3}, {"rate": 1}, {"filters": [4, 8, 16]}, {"loss": "focal"}, {"empty": False}, {"limit": 7}],
)
def test_values_that_fit(typed_notebook, values):
    check_parameters(values, [typed_notebook])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": "3"}, "epochs is '3', but must be of the kind of 8"),
        ({"epochs": 3.5}, "epochs is 3.5, but"),
        ({"epochs": True}, "epochs is True, but"),
        ({"epochs": None}, "epochs is None, but"),
        ({"rate": False}, "rate is False, but"),
        ({"filters": 8}, r"filters is 8, but must be of the kind of \[8, 16\]"),
        ({"filters": [8, "x"]}, r"filters is \[8, 'x'\], but"),
        ({"loss": 1}, "loss is 1, but must be of the kind of 'dice'"),
        ({"empty": 1}, "empty is 1, but must be of the kind of True"),
        ({"epoch": 3}, r"no parameter 'epoch' \(did you mean epochs\?\); valid: empty, epochs, filters, "),
    ],
)
def test_values_that_do_not_fit(typed_notebook, tmp_path, values, message):
    with pytest.raises(MetsegError, match=message):
        run_notebooks([typed_notebook], values, run_folder=tmp_path / "outputs" / "quick")
    assert not (tmp_path / "outputs").exists()


def test_one_notebook_that_declares_a_name_is_enough(folder, typed_notebook):
    other = write_notebook(folder / "01_explore.ipynb", RUN)
    check_parameters({"epochs": 3}, [other, typed_notebook])
    with pytest.raises(MetsegError, match="no parameter 'epochs'"):
        check_parameters({"epochs": 3}, [other])


# ---- the recipe ----

RECIPE = """epochs: 8
rate: 0.5
filters: [8, 16]
unknown_here: 1
03_train: {limit: 5}
"""


@pytest.fixture
def recipe(typed_notebook) -> Path:
    """A recipe beside a notebook whose cell a person has edited and saved."""
    path = typed_notebook.parent / "params" / "quick.yml"
    path.parent.mkdir()
    path.write_text(RECIPE)
    edited = TYPED.replace("epochs = 8", "epochs = 3").replace("(8, 16)", "'mine'")
    write_notebook(typed_notebook, edited + RUN, "print(epochs, rate, filters, loss, limit)")
    return path


def test_what_commands_start_from_is_the_recipe(typed_notebook, recipe):
    start = defaults_of(typed_notebook)
    # the cell counts for what the recipe does not name, and for no further name
    assert start == {
        **{"epochs": 8, "rate": 0.5, "filters": [8, 16], "loss": "dice", "empty": True, "limit": 5},
        **{"run_name": "quick", "output_dir": "../outputs/runs"},
    }
    told = edits_told([typed_notebook])
    assert [line.split()[3] for line in told] == ["epochs", "filters", "limit"]
    assert "has epochs = 3, " in told[0] and "start from 8, " in told[0]
    check_parameters({"filters": [4]}, [typed_notebook])  # by the recipe's types
    assert read_profile("quick", typed_notebook.parent) == {}


def test_a_notebook_whose_cell_names_a_recipe_takes_all_of_a_training(folder):
    cell = 'model = "unet"\nrecipe = "params/quick.yml"\nepochs = 3\ndata_dir = "../data/x"\n'
    notebook = write_notebook(folder / "04b_train_unet.ipynb", cell)
    (folder / "params").mkdir()
    recipe = "epochs: 8\nrotation_deg: 5.0\ncache_dir: ../c\ngallery: 4\ndeep_supervision: false\n"
    (folder / "params" / "quick.yml").write_text(recipe)
    (folder / "params" / "mine.yml").write_text("rotation_deg: 7.0\ngallery: 5\n")
    start = defaults_of(notebook)
    assert (start["epochs"], start["rotation_deg"]) == (8, 5.0)
    assert start.keys() & {"gallery", "deep_supervision"} == set()  # other notebooks' and other networks'
    values = command_values("mine", {"epochs": 2}, [notebook])
    assert values == {"rotation_deg": 7.0, "epochs": 2}
    settings = training_settings(notebook, values)
    assert (settings["epochs"], settings["cache_dir"]) == (2, str(folder.parent / "c"))
    with pytest.raises(MetsegError, match="epochs is 'x'"):
        training_settings(notebook, {"epochs": "x"})


def test_without_a_recipe_the_cell_counts(typed_notebook):
    assert defaults_of(typed_notebook)["epochs"] == 8 and edits_told([typed_notebook]) == []


def test_the_network_of_a_notebook_is_the_recipes(folder):
    notebook = write_notebook(folder / "04_train_attention_unet.ipynb", 'model = "unet"')
    (folder / "params").mkdir()
    (folder / "params" / "quick.yml").write_text("04_train_attention_unet: {model: attention_unet}\n")
    assert training_notebook("attention_unet", folder) == notebook


def test_what_papermill_passes_as_text_is_read():
    assert as_typed([1, 2]) == [1, 2] and as_typed("[unet, nested_unet]") == ["unet", "nested_unet"]
    with pytest.raises(MetsegError, match=r"'\[1, 2' is no list"):
        as_typed("[1, 2")


# ---- runs ----


def test_output_folder_that_cannot_be_written(typed_notebook, tmp_path):
    (tmp_path / "outputs").write_text("a file, no folder")
    with pytest.raises(MetsegError, match=r"cannot write to .*quick: Not a directory; choose another"):
        run_notebooks([typed_notebook], {}, run_folder=tmp_path / "outputs" / "quick")


def test_a_run_folder_in_use(typed_notebook, tmp_path):
    (tmp_path / "quick").mkdir()
    with FileLock(tmp_path / "quick" / ".lock"), pytest.raises(MetsegError) as error:
        run_notebooks([typed_notebook], {}, run_folder=tmp_path / "quick")
    assert str(error.value) == (
        f"run '{tmp_path / 'quick'}' is being written by another process; wait for it or choose another run"
    )
    assert not (tmp_path / "quick" / "notebooks").exists()


TRAIN = """import json, time
from pathlib import Path
target = Path(output_dir, run_name, model, "progress.json")
target.parent.mkdir(parents=True, exist_ok=True)
known = dict(model=model, epoch=2, epochs=2, step=4, steps=4, loss=0.5, seconds_left=0)
target.write_text(json.dumps({**known, "val_dice": 0.25, "done": True}))
"""


@pytest.mark.slow
def test_run_from_start_to_finish(tmp_path, folder, monkeypatch):
    # a kernel specification of the user's own, start-up files, and a backend must not reach the notebooks
    start_up = tmp_path / "ipython" / "profile_default" / "startup" / "mine.py"
    start_up.parent.mkdir(parents=True)
    start_up.write_text("epochs = 'mine'")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "Other", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    tell = "import os, sys\nassert 'epochs' not in globals()\n"
    tell += "print(sys.executable, os.getcwd(), os.environ['MPLBACKEND'], output_dir)"
    explore = write_notebook(folder / "01_{explore}.ipynb", RUN, tell)
    parameters = RUN + "model = 'unet'\nfilters = (8, 16)\n"
    train = write_notebook(folder / "03_train.ipynb", parameters, TRAIN, "print(filters)")
    run_folder = tmp_path / "outputs" / "runs" / "first"
    folder_of_copies = run_folder / "notebooks"
    stale = run_folder / "unet" / "progress.json"
    stale.parent.mkdir(parents=True)
    stale.write_text(json.dumps({"stale": True}))
    os.utime(stale, (time.time() - 60, time.time() - 60))
    events: list[Event] = []

    copies = run_notebooks([explore, train], {"filters": [4]}, run_folder=run_folder, on_event=events.append)

    assert copies == [folder_of_copies / "01_{explore}.ipynb", folder_of_copies / "03_train.ipynb"]
    backend = "module://matplotlib_inline.backend_inline"
    assert printed(copies[0]) == f"{sys.executable} {folder} {backend} ../outputs/runs\n"
    assert printed(copies[1]) == "[4]\n"
    injected = '# Parameters\nrun_name = "first"\noutput_dir = "../outputs/runs"\n'
    assert sources(copies[0])[2] == injected  # only what this notebook declares
    written = sorted(path.name for path in folder_of_copies.iterdir())
    assert written == ["01_{explore}.html", "01_{explore}.ipynb", "03_train.html", "03_train.ipynb"]
    assert sources(train)[-1] == "print(filters)"
    assert printed(train) == ""

    others = [event for event in events if event.kind != "training"]
    assert [(event.kind, event.position, event.cell, event.cells) for event in others] == [
        ("started", 1, 0, 0),
        *[("cell", 1, cell, 3) for cell in (1, 2, 3)],
        ("finished", 1, 0, 0),
        ("started", 2, 0, 0),
        *[("cell", 2, cell, 4) for cell in (1, 2, 3, 4)],
        ("finished", 2, 0, 0),
    ]
    training = [event.training for event in events if event.kind == "training"]
    assert [(state["epoch"], state["val_dice"]) for state in training] == [(2, 0.25)]
    assert {(event.run_name, event.of) for event in events} == {("first", 2)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "cause"),
    [
        (
            "import os\nprint('before', flush=True)\nos._exit(3)",
            "its kernel died, most often for want of memory: a smaller batch or image needs less",
        ),
        (
            "from metseg.base.errors import MetsegError\nraise MetsegError('no \\x1b[1mmasks;\\n get them.')",
            "no masks; get them",
        ),
    ],
    ids=["dead kernel", "mendable"],
)
def test_a_notebook_that_stops(tmp_path, folder, cell, cause):
    notebook = write_notebook(folder / "03_train.ipynb", RUN, "print('first')", cell, "print('never')")
    after = write_notebook(folder / "05_compare.ipynb", RUN)
    with pytest.raises(MetsegError) as error:
        run_notebooks([notebook, after], {}, run_folder=tmp_path / "outputs" / "quick")
    copies = tmp_path / "outputs" / "quick" / "notebooks"
    copy = copies / "03_train.unfinished.ipynb"
    assert str(error.value) == f"03_train.ipynb stopped: {cause}; the copy executed so far is {copy}"
    assert error.value.__cause__ is None
    assert printed(copy).startswith("first\n")
    assert "never" not in printed(copy)
    assert [path.name for path in copies.iterdir()] == ["03_train.unfinished.ipynb"]
    with FileLock(tmp_path / "outputs" / "quick" / ".lock", timeout=0):
        pass  # free again


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_parent(tmp_path, folder, ending):
    begin = """import os, subprocess, time
from pathlib import Path
worker = subprocess.Popen(["sleep", "300"])
Path("pids.partial").write_text(f"{os.getpid()} {os.getppid()} {worker.pid}")
Path("pids.partial").rename("pids")
time.sleep(300)"""
    notebook = write_notebook(folder / "03_train.ipynb", RUN, begin)
    program = (
        "import sys\nfrom metseg.workbook.run import run_notebooks\n"
        "run_notebooks([sys.argv[1]], {}, run_folder=sys.argv[2])"
    )
    arguments = [sys.executable, "-c", program, str(notebook), str(tmp_path / "quick")]
    parent = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    try:
        assert wait_until((folder / "pids").exists, 60)
        kernel, child, worker = (int(pid) for pid in (folder / "pids").read_text().split())
        assert is_running(kernel) and is_running(child) and is_running(worker)
        parent.send_signal(ending)
        parent.wait(60)
        assert wait_until(lambda: not any(is_running(pid) for pid in (kernel, child, worker)), 20)
        nbformat.read(tmp_path / "quick" / "notebooks" / "03_train.unfinished.ipynb", as_version=4)  # whole
        with FileLock(tmp_path / "quick" / ".lock", timeout=0):
            pass  # free again
    finally:
        parent.kill()


def test_no_network_library_is_loaded():
    program = (
        "import sys, metseg.workbook.run; print(*({'tensorflow', 'keras', 'papermill'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == ""
