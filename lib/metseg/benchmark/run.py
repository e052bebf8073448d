"""A benchmark from its first turn to its record; interrupted, it goes on behind its last finished round."""

import json
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from metseg import __version__
from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown, sole_writer, write_json
from metseg.base.hardware import cores, cpu_name, git_revision
from metseg.benchmark.plan import PEERS, Groups, Measurement, Settings, missing_peers, onnx_path, plan
from metseg.benchmark.worker import working

_WARM_UP_SECONDS = 0.5
_PACKAGES = ("keras", "tensorflow", "onnxruntime", "openvino", "numpy")


def run_benchmark(
    settings: Settings,
    folder: Path,
    *,
    restart: bool = False,
    on_progress: Callable[[str, int, int], None] = lambda text, done, total: None,
) -> dict[str, Any]:
    """Measures all that is not measured yet, and returns the run's record, `benchmark.json`.

    Contestants of a group take turns, A B C A B C …; while one works the others wait. Each finished round is
    kept in `measurements/`, so the same call goes on after an interruption, even a `kill -9`. A finished
    benchmark of the same settings is returned as it is.

    Args:
        settings: What to measure.
        folder: The run's folder.
        restart: Begin anew where the folder holds another benchmark, instead of an error.
        on_progress: Called with (group, rounds done, rounds in all).

    Raises:
        MetsegError: The folder holds another benchmark or cannot be written to, or a contestant stopped.
    """
    folder = Path(folder)
    with sole_writer(folder):
        record, before = _record(settings), _begun(folder)
        if before.get("finished") and before.get("settings") == record["settings"]:
            return before
        if not _goes_on(before, record):
            if before and not restart:
                raise MetsegError(
                    f"{shown(folder)} holds a benchmark of other settings, versions or another machine; "
                    "choose another --run-name, or remove that folder"
                )
            for name in ("measurements", "networks"):
                shutil.rmtree(folder / name, ignore_errors=True)
        write_json(folder / "benchmark.json", record)
        groups = planned(record)
        for k, (name, measurements) in enumerate(groups.items()):
            for done in _rounds(name, measurements, settings, folder):
                on_progress(name, k * settings.rounds + done, len(groups) * settings.rounds)
        record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(folder / "benchmark.json", record)
    return record


def unfinished_benchmark(runs_dir: Path, settings: Settings) -> Path | None:
    """Returns the newest benchmark in a folder of runs that `run_benchmark` would go on with, if any."""
    record, paths = _record(settings), sorted(Path(runs_dir).glob("benchmark-*/benchmark.json"), reverse=True)
    return next((path.parent for path in paths if _goes_on(_begun(path.parent), record)), None)


def planned(record: dict[str, Any]) -> Groups:
    """Returns the groups of a run as it was begun, whatever this version would plan."""
    return {name: [Measurement(**each) for each in group] for name, group in record["plan"].items()}


def read_measurements(name: str, folder: Path) -> dict[str, Any]:
    """Returns what was measured of a group: `ready`, {key: answer}, and `rounds`, a list of {key: turn}."""
    path = Path(folder) / "measurements" / f"{name}.json"
    return read_json(path) if path.exists() else {"ready": {}, "rounds": []}


def _rounds(name: str, group: Sequence[Measurement], settings: Settings, folder: Path) -> Iterator[int]:
    """Measures what a group lacks; yields how many rounds it has, at first and after each."""
    found = read_measurements(name, folder)
    yield len(found["rounds"])
    if len(found["rounds"]) >= settings.rounds:
        return
    _export_networks(group, folder)
    with working(group, folder) as workers:
        found["ready"] = {worker.measurement.key: worker.ready() for worker in workers}
        for worker in workers:  # while they start they disturb each other; alone they warm up
            worker.turn(_WARM_UP_SECONDS)
        while len(found["rounds"]) < settings.rounds:
            turns = {worker.measurement.key: worker.turn(settings.turn_seconds) for worker in workers}
            found["rounds"].append(turns)
            write_json(folder / "measurements" / f"{name}.json", found)
            yield len(found["rounds"])


def _export_networks(measurements: Sequence[Measurement], folder: Path) -> None:
    for each in measurements:
        exported = each.task == "inference" and each.library in ("metseg", "onnxruntime")
        if exported and not onnx_path(folder, each.network, each.size, "int8").exists():  # written last
            with working([replace(each, library="keras", task="export")], folder) as (worker,):
                worker.ready()


def _record(settings: Settings) -> dict[str, Any]:
    missing = missing_peers() if settings.peers else []
    peers = settings.peers and not missing
    left_out = f"MONAI is left out: {' and '.join(missing)} not installed; pip install -e '.[benchmark]'"
    memory = round(psutil.virtual_memory().total / 1e9, 1)
    versions = {name: version(name) for name in (*_PACKAGES, *(PEERS if peers else ()))}
    record = {
        "settings": settings.model_dump(mode="json"),
        "hardware": {"cpu": cpu_name(), "cores": cores(), "memory_gb": memory, "system": platform.platform()},
        "git_revision": git_revision(),
        "versions": {"python": platform.python_version(), "metseg": __version__, **versions},
        "plan": {name: list(map(asdict, group)) for name, group in plan(settings, peers=peers).items()},
        "left_out": [left_out] if missing else [],
        "finished": None,
    }
    return json.loads(json.dumps(record))  # as it is read back


def _begun(folder: Path) -> dict[str, Any]:
    """Returns the record that a folder already has; {} for a new one or a damaged one."""
    try:
        return read_json(folder / "benchmark.json")
    except MetsegError:
        return {}


def _goes_on(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether figures of an unfinished run and of this machine as it is now may stand in one table."""
    return {name: before.get(name) for name in now} == now  # that it is not finished included
