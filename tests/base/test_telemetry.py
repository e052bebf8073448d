"""No library sends anything to its maker, or keeps an identifier for that in HOME."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import write_bright_model

# Says every look-up of a host and every connection, those of threads too.
WATCHED = """
import sys
def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect"):
        print(event, *arguments[1:], file=sys.stderr)
sys.addaudithook(watch)
"""
ENGINES = """
import sys
import numpy as np
from metseg.inference.engines import OnnxRuntimeEngine, OpenVinoEngine
content = open(sys.argv[1], "rb").read()
for engine in (OnnxRuntimeEngine(content), OpenVinoEngine(content, "bf16")):
    engine.run(["prob"], np.zeros((32, 32, 3), np.float32))
assert {"onnxruntime", "openvino"} <= sys.modules.keys()
"""
PREDICT = """
import sys
from metseg.cli import main
sys.argv = ["metseg", "predict", "--model", sys.argv[1], "--input", sys.argv[2], "--output", sys.argv[3]]
main()
"""


@pytest.fixture
def home(tmp_path) -> Path:
    """An empty HOME."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def run_at(home: Path, code: str, *arguments: Path) -> subprocess.CompletedProcess:
    """Runs code that is watched, with a HOME and without the variables that switch telemetry off."""
    environment = {"HOME": str(home), "PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", WATCHED + code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_both_engines_look_nothing_up_and_leave_nothing_in_home(tmp_path, home):
    model = write_bright_model(tmp_path / "unet") / "model.onnx"
    done = run_at(home, ENGINES, model)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.iterdir()) == []


def test_predict_looks_nothing_up_and_leaves_nothing_in_home(tmp_path, home, write_slice, noise):
    image = write_slice(tmp_path, "scan_1", noise(1))
    done = run_at(home, PREDICT, write_bright_model(tmp_path / "unet"), image, tmp_path / "masks")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "masks" / "scan_1_mask.tif").is_file()
    assert list(home.iterdir()) == []


def test_service_and_dashboard_look_nothing_up_and_leave_nothing_in_home(home):
    modules = "metseg.serve.service.server, metseg.serve.dashboard.voila_server, metseg.serve.service.load"
    kernel = "from metseg.serve.dashboard.view import Dashboard\nDashboard()"
    done = run_at(home, f"import {modules}\n{kernel}")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(home.iterdir()) == []


def test_training_leaves_only_the_settings_of_keras(home):
    """They name nobody; matplotlib's list of fonts may lie beside them."""
    done = run_at(home, "import metseg.training.fit, metseg.export.onnx, metseg.export.quantise")
    assert (done.returncode, done.stderr) == (0, "")
    kept = {path.relative_to(home).parts[0] for path in home.rglob("*") if path.is_file()}
    assert kept <= {".keras", ".cache"}
    assert {path.name for path in home.glob(".cache/*")} <= {"matplotlib"}


def test_processes_started_by_ours_have_it_off_too():
    """The worker of a service or a kernel imports metseg anyway; others inherit what ONNX Runtime reads."""
    code = (
        "import os, metseg, subprocess, sys; del os; "
        "subprocess.run([sys.executable, '-c', 'import os; print(os.environ[\"ORT_DISABLE_TELEMETRY\"])'])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "1\n"
