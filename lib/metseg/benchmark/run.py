"""A benchmark from its first turn to its table; interrupted, it goes on behind its last finished round."""

import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from metseg import __version__
from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown, sole_writer, write_json
from metseg.base.hardware import cores, cpu_name
from metseg.base.revision import git_revision
from metseg.benchmark.plan import (
    TRAINING_SLICES,
    Group,
    Measurement,
    missing_peers,
    plan,
    released_precisions,
)
from metseg.benchmark.process import working
from metseg.benchmark.settings import Settings

_START_SECONDS = 10.0  # what starting a contestant counts for in the progress
_WARM_UP_SECONDS = 0.5
_PACKAGES = ("keras", "tensorflow", "onnxruntime", "openvino", "numpy", "torch", "monai")
OnProgress = Callable[[str, float, float], None]


def run_benchmark(
    settings: Settings,
    folder: Path,
    *,
    restart: bool = False,
    on_progress: OnProgress = lambda text, done, total: None,
) -> dict[str, Any]:
    """Measures all that is not measured yet, and returns the run's record.

    Contestants of a group take turns, A B C A B C …; while one works the others wait for a line of stdin.
    Each finished round is kept in `measurements/`, so the same call goes on after an interruption, even a
    `kill -9`; a round that was cut is measured again as a whole, since its ratios have to be of the same
    minutes. A finished benchmark is returned as it is, whatever is installed, released or committed by now:
    its record says what was then.

    Args:
        settings: What to measure.
        folder: The run's folder.
        restart: Begin anew where the folder's benchmark cannot be gone on with, instead of an error; a
            finished one is then returned whatever its settings.
        on_progress: Called with (group, seconds done, seconds in all), the seconds being nominal.

    Returns:
        What `benchmark.json` holds: settings, hardware, git_revision, versions, serving (what the released
        networks compute in), left_out, finished.

    Raises:
        MetsegError: The folder holds a damaged benchmark, a finished one of other settings, or an unfinished
            one that this call would not have begun alike; a contestant stopped, or the folder cannot be
            written to.
    """
    folder = Path(folder)
    with sole_writer(folder):
        before = _begun(folder, restart=restart)
        if before.get("finished") and (restart or before.get("settings") == settings.model_dump(mode="json")):
            return before
        record = _record(settings)
        if before and (other := _differences(before, record)):
            if not restart:
                raise MetsegError(
                    f"{shown(folder)} holds a benchmark with other {other[0].replace('_', ' ')}; "
                    "choose another --run-name, or remove that folder"
                )
            before = {}
        if not before:
            shutil.rmtree(folder / "measurements", ignore_errors=True)
            shutil.rmtree(folder / "networks", ignore_errors=True)
        peers = settings.peers and not record["left_out"]
        groups = plan(settings, folder, peers=peers, serving=record["serving"])
        write_json(folder / "plan.json", {"groups": [asdict(group) for group in groups]})
        write_json(folder / "benchmark.json", record)
        progress = _Progress(groups, settings, on_progress)
        for group in groups:
            _measure(group, settings, folder, progress)
        record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(folder / "benchmark.json", record)
    return record


def unfinished_benchmark(runs_dir: Path, settings: Settings) -> Path | None:
    """Returns the newest benchmark in a folder of runs that `run_benchmark` would go on with, if any."""
    found = [path.parent for path in sorted(Path(runs_dir).glob("benchmark-*/benchmark.json"))]
    now = _record(settings) if found else {}
    for folder in reversed(found):
        with suppress(MetsegError):  # a damaged one is nobody's to go on with
            before = _begun(folder, restart=False)
            if not before.get("finished") and not _differences(before, now):
                return folder
    return None


def planned(folder: Path) -> list[Group]:
    """Returns the groups of a run as it was begun, whatever this version would plan.

    Raises:
        MetsegError: The folder does not say.
    """
    path = Path(folder) / "plan.json"
    try:
        return [
            Group(group["name"], tuple(Measurement(**entry) for entry in group["measurements"]))
            for group in read_json(path)["groups"]
        ]
    except (KeyError, TypeError):
        raise MetsegError(f"{shown(path)} is damaged; measure again in another folder") from None


def read_measurements(group: Group, folder: Path) -> dict[str, Any]:
    """Returns what was measured of a group: `ready`, {key: answer}, and `rounds`, a list of {key: turn}."""
    path = _measurements(group, folder)
    return read_json(path) if path.exists() else {"ready": {}, "rounds": []}


def _measurements(group: Group, folder: Path) -> Path:
    return Path(folder) / "measurements" / f"{group.name}.json"


def _measure(group: Group, settings: Settings, folder: Path, progress: "_Progress") -> None:
    found = read_measurements(group, folder)
    todo = settings.rounds - len(found["rounds"])
    progress.skip(group, rounds=settings.rounds - todo)
    if todo <= 0:
        return
    with _prepared(group, folder), working(group.measurements) as workers:
        for worker in workers:
            found["ready"][worker.measurement.key] = worker.ready()
            progress.add(group, _START_SECONDS)
        for worker in workers:  # while they start they disturb each other; alone they warm up
            worker.turn(_WARM_UP_SECONDS)
        for _ in range(todo):
            turns = {}
            for worker in workers:
                turns[worker.measurement.key] = worker.turn(settings.turn_seconds)
                progress.add(group, settings.turn_seconds)
            found["rounds"].append(turns)
            write_json(_measurements(group, folder), found)


@contextmanager
def _prepared(group: Group, folder: Path) -> Iterator[None]:
    """Exports the networks that a group runs, or draws up its data sets and removes them afterwards."""
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed run left
    try:
        # int8 first, whose export brings float32 along
        for measurement in sorted(
            group.measurements, key=lambda measurement: measurement.precision != "int8"
        ):
            if measurement.task == "inference" and measurement.path and not Path(measurement.path).exists():
                with working([replace(measurement, library="keras", task="export")]) as (export,):
                    export.ready()
            elif measurement.path and not Path(measurement.path).exists():
                from metseg.benchmark.with_data import SIDE, write_data_set

                trains = measurement.task == "training"
                slices, side = (TRAINING_SLICES, measurement.size) if trains else (measurement.size, SIDE)
                write_data_set(Path(measurement.path), slices, side=side, noise=trains)
        yield
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Progress:
    """Counts nominal seconds: those that turns take by their settings, and a fixed time for each start."""

    def __init__(self, groups: list[Group], settings: Settings, on_progress: OnProgress):
        self._turn, self._rounds = settings.turn_seconds, settings.rounds
        measurements = sum(len(group.measurements) for group in groups)
        self._total = measurements * (_START_SECONDS + settings.rounds * self._turn)
        self._done, self._tell = 0.0, on_progress

    def add(self, group: Group, seconds: float) -> None:
        self._done += seconds
        self._tell(group.name, self._done, self._total)

    def skip(self, group: Group, *, rounds: int) -> None:
        """Counts the rounds of an earlier start; what was all done need not start again."""
        start = _START_SECONDS if rounds >= self._rounds else 0.0
        self.add(group, len(group.measurements) * (start + rounds * self._turn))


def _record(settings: Settings) -> dict[str, Any]:
    missing = missing_peers() if settings.peers else []
    found = {name: _version(name) for name in _PACKAGES if name not in missing}
    not_installed = f"{' and '.join(missing)} not installed; pip install -e '.[benchmark]'"
    return {
        "settings": settings.model_dump(mode="json"),
        "hardware": {
            "cpu": cpu_name(),
            "cores": cores(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "system": platform.platform(),
        },
        "git_revision": git_revision(),
        "versions": {"python": platform.python_version(), "metseg": __version__, **found},
        "serving": released_precisions(settings.networks),
        "left_out": [f"MONAI is left out: {not_installed}"] if missing else [],
        "finished": None,
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _begun(folder: Path, *, restart: bool) -> dict[str, Any]:
    """Returns the record that a folder already has, {} for a new one; a damaged one is new to a restart."""
    path = folder / "benchmark.json"
    if not path.exists():
        return {}
    try:
        planned(folder)
        return read_json(path)
    except MetsegError:
        if restart:
            return {}
        raise MetsegError(
            f"the benchmark in {shown(folder)} is damaged; choose another --run-name, or remove that folder"
        ) from None


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns in what two records differ, so that their figures must not stand in one table."""
    alike = ("settings", "hardware", "git_revision", "versions", "serving", "left_out")
    return [name for name in alike if before.get(name) != now[name]]
