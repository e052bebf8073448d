"""The house: folders are rooms on floors, and an import goes down only."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "lib" / "metseg"
# From the ground up. A room knows those before it; those in one line do not know each other.
FLOORS = (
    ("base",),
    ("masks",),
    ("data",),
    ("preprocessing",),
    ("metrics", "models"),
    ("plots", "inference"),
    ("reports",),
    ("training",),
    ("export",),
    ("evaluation",),
    ("trial",),
    ("release",),
    ("workbook", "serve", "benchmark"),
    ("cli",),
)
FLOOR = {room: k for k, rooms in enumerate(FLOORS) for room in rooms}
LOOSE = {"__init__.py", "trial.py"}  # `trial` ties training, export and evaluation together
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_known_by(path: Path) -> set[str]:
    """The rooms that a module imports from, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("metseg.")}
    return found & FLOOR.keys()


def test_nothing_lies_loose():
    assert {path.name for path in PACKAGE.glob("*.py")} <= LOOSE
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms | {"trial"} == FLOOR.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_run_down_only(path):
    own = room_of(path)
    known = rooms_known_by(path) - {own}
    assert not [room for room in known if FLOOR[room] >= FLOOR.get(own, -1) and own != "__init__"]


def test_no_module_is_longer_than_250_lines():
    lines = {path: path.read_text(encoding="utf-8").splitlines() for path in MODULES}
    assert {name: len(each) for name, each in lines.items() if len(each) > 250} == {}


def test_tests_mirror_the_rooms():
    tests = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir()}
    assert FLOOR.keys() - tests <= {"trial"}
