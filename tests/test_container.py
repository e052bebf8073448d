"""What the container holds is enough to serve, and its files agree with pyproject.toml and the commands."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from unittest.mock import Mock

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from phantom_upload import dicom_zip
from running_service import BRIGHT_CORNER, as_png
from tiny_runs import write_bright_model

from metseg.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SERVING = [
    line
    for line in (ROOT / "deploy" / "serving.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
SERVICES = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))["services"]
# All that serving imports, with some modules not there; a slice and a volume, by way of every writer.
SERVE = """
import importlib, json, pkgutil, sys, time
from pathlib import Path
from starlette.testclient import TestClient  # with what it needs itself

missing, model, upload, image = json.loads(sys.argv[1])

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing())
import ipykernel.ipkernel
import metseg.cli
import metseg.serve
for module in pkgutil.walk_packages(metseg.serve.__path__, "metseg.serve."):
    if module.name != "metseg.serve.service.load":  # measures a service, from elsewhere
        importlib.import_module(module.name)
from metseg.serve.service.api import create_app

with TestClient(create_app({"unet": Path(model)}), base_url="http://localhost") as client:
    assert client.post("/predict", files={"file": Path(image).read_bytes()}).json()["lesions"]
    asked = {"also": "report,probabilities,seg,sr,rtstruct", "trust_anyway": "true"}
    begun = client.post("/predict", files={"file": Path(upload).read_bytes()}, data=asked)
    while (answer := client.get(begun.headers["location"])).status_code == 202:
        time.sleep(0.02)
assert answer.status_code == 200, answer.text
"""


def all_needed_by(names: Iterable[str]) -> set[str]:
    """Distributions that are installed with these."""
    todo, seen = [Requirement(name) for name in names], set()
    while todo:
        wanted = todo.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            further = map(Requirement, requires(name) or ())
        except PackageNotFoundError:  # of another system
            continue
        ways = [{"extra": extra} for extra in ("", *extras)]
        todo += [each for each in further if not each.marker or any(map(each.marker.evaluate, ways))]
    return {name for name, _ in seen}


def test_what_serving_needs_is_pinned():
    assert set(SERVING) <= {pin.partition("==")[0] for pin in PROJECT["dependencies"]}
    assert sorted(set(SERVING)) == SERVING


def test_serving_needs_no_more(tmp_path):
    there = all_needed_by(SERVING)
    assert there & {"tensorflow", "keras", "jupyterlab", "papermill", "optuna", "torch"} == set()
    missing = [
        module
        for module, names in packages_distributions().items()
        if not there & {canonicalize_name(name) for name in names} and module != "metseg"
    ]
    assert {"tensorflow", "pandas"} <= set(missing)
    model = write_bright_model(tmp_path / "unet")
    upload, image = tmp_path / "scan.zip", tmp_path / "slice.png"
    upload.write_bytes(dicom_zip())
    image.write_bytes(as_png(BRIGHT_CORNER))
    given = json.dumps([missing, *map(str, (model, upload, image))])
    done = subprocess.run([sys.executable, "-c", SERVE, given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_python_of_the_container_is_allowed():
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    versions = set(re.findall(r"^FROM python:([\d.]+)", text, re.MULTILINE))
    assert len(versions) == 1
    assert versions.pop() in SpecifierSet(PROJECT["requires-python"])


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore"])
def test_binder_builds_from_the_environment(name):
    assert not (ROOT / name).exists()  # repo2docker would heed it


@pytest.mark.parametrize("name", ["service", "dashboard"])
def test_commands_of_the_compose_file_are_understood(name):
    command, *options = SERVICES[name]["command"]
    typer.main.get_command(app).commands[command].make_context(command, options)  # exits else


@pytest.mark.parametrize("option", ["--allowed-host=localhost", "--allowed-host=dashboard.example"])
@pytest.mark.parametrize(("command", "port"), [("serve", 8000), ("dashboard", 8866)])
def test_whom_the_health_check_asks(tmp_path, monkeypatch, command, port, option):
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    program, flag, code = json.loads(re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", text, re.MULTILINE)[1])
    assert (program, flag) == ("python3", "-c")
    (tmp_path / "cmdline").write_bytes(f"/sbin/init\0metseg\0{command}\0{option}\0".encode())
    connection = Mock()
    connection.return_value.getresponse.return_value.status = 404
    monkeypatch.setattr("http.client.HTTPConnection", connection)
    with pytest.raises(SystemExit) as ended:
        exec(code.replace("/proc/1/cmdline", str(tmp_path / "cmdline")), {"exit": sys.exit})
    assert connection.call_args.args == ("127.0.0.1", port) and not ended.value.code


def test_one_container_alone_builds_the_image():
    own = {name: each for name, each in SERVICES.items() if each["image"] == "metseg"}
    assert [name for name, each in own.items() if "build" in each] == ["network"]
    assert {each["pull_policy"] for each in own.values()} == {"build", "never"}


def test_only_the_proxy_can_be_reached():
    assert [name for name, each in SERVICES.items() if "ports" in each] == ["network"]
    assert {each.get("network_mode", "its own") for each in SERVICES.values()} == {
        "its own",
        "service:network",
    }
    hosts = [option for each in SERVICES.values() for option in each.get("command", []) if "--host" in option]
    assert hosts == []  # localhost
