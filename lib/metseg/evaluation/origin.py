"""What a network comes from: told before it works, and why one of the phantom refuses all other scans."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, taking_apart
from metseg.data.provenance import PHANTOM, provenance_of
from metseg.training.find import MODELS, is_released_name
from metseg.training.run_folder import RunFolder


def network_line(model_dir: Path, name: str, why: str = "") -> str:
    """Returns which network this is and what it was trained on, as every command says it before it works.

    `name` is what commands call it, `why` it was taken where that name was not given. Raises `MetsegError` if
    its folder does not tell.
    """
    run = RunFolder(model_dir)
    path = run.description if run.is_exported else run.manifest
    record = read_json(path)
    with taking_apart(path):
        data, caution = (str(record["data"][key]) for key in ("name", "caution"))
        seen = f", {len(record['seen'])} patients seen" if record.get("seen") else ""
        lesion = f", lesion in {record['data']['lesion']}" if record["data"].get("lesion") else ""
    released = ", released" if is_released_name(name) else ""
    where = "" if name == str(run) else f" ({run})"
    where += f", {why}" if why else ""
    return f"network: {name}{released}{where}, trained on {data}{lesion}{seen}. {caution}"


def knows_only_the_phantom(description: Mapping[str, Any]) -> bool:
    """Returns whether a network was trained on the phantom, from its `model.json`."""
    data = description.get("data")
    return isinstance(data, Mapping) and data.get("name") == PHANTOM.name


def network_for(run_folder: Path, default: Path, case_ids: Iterable[str], name: str = "") -> Path:
    """Returns the folder of the network that a notebook segments scans with.

    It is the run's with the best validation Dice. Where the run has none, or one that knows nothing but the
    phantom and the scans are not of it, it is the default.

    Args:
        run_folder: The run's.
        default: Folder of the released network to take then.
        case_ids: The scans' names.
        name: The network's name in the run, to choose it.

    Raises:
        MetsegError: The run has no network of that name.
    """
    own = [RunFolder(run_folder / each) for each in MODELS if not name or each == name]
    known = {run.path: read_json(run.description) for run in own if run.is_exported}
    if name and not known:
        raise MetsegError(f"{run_folder} has no network {name!r}; train it, or name another")
    if provenance_of(case_ids) != PHANTOM and not name:
        known = {path: each for path, each in known.items() if not knows_only_the_phantom(each)}
    return max(known, key=lambda path: known[path]["validation_dice"], default=default)


def but_of_the_phantom(models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the names of those that know more than the phantom, or all; from {name: its `model.json`}."""
    return [name for name in models if not knows_only_the_phantom(models[name])] or [*models]


def refuse_scans_unlike_the_phantom(
    description: Mapping[str, Any], name: str, scans: Iterable[str] | None = None
) -> None:
    """Raises `MetsegError` if a network that knows only the phantom is to segment anything else.

    Takes its `model.json`, what the user calls it, and the scans' names; None where nobody can know them.
    """
    if not knows_only_the_phantom(description) or (scans is not None and provenance_of(scans) == PHANTOM):
        return
    what = "nobody knows what will be sent" if scans is None else "these scans are not of it"
    raise MetsegError(
        f"{name} knows nothing but the phantom, and {what}: its masks would mean nothing; name another "
        "network, or give --phantom-network to use it all the same"
    )
