"""What a network comes from: told before it works, and why one of the phantom refuses all other scans."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, taking_apart
from metseg.data.provenance import PHANTOM, provenance_of
from metseg.training.find import MODELS
from metseg.training.run_folder import RunFolder


def network_line(model_dir: Path, name: str) -> str:
    """Returns which network this is and what it was trained on, as every command says it before it works.

    `name` is what commands call it. Raises `MetsegError` if its folder does not tell.
    """
    run = RunFolder(model_dir)
    path = run.description if run.is_exported else run.manifest
    record = read_json(path)
    with taking_apart(path):
        data, caution = (str(record["data"][key]) for key in ("name", "caution"))
        seen = f", {len(record['seen'])} patients seen" if record.get("seen") else ""
        lesion = f", lesion in {record['data']['lesion']}" if record["data"].get("lesion") else ""
    released = ", released" if name in MODELS else ""
    where = "" if name == str(run) else f" ({run})"
    return f"network: {name}{released}{where}, trained on {data}{lesion}{seen}. {caution}"


def knows_only_the_phantom(description: Mapping[str, Any]) -> bool:
    """Returns whether a network was trained on the phantom, from its `model.json`."""
    data = description.get("data")
    return isinstance(data, Mapping) and data.get("name") == PHANTOM.name


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
