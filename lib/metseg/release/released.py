"""The models that come with the checkout, and which of them is taken for a slice or a volume."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.base.paths import released_dir
from metseg.data.provenance import KINDS
from metseg.inference.description import read_description

OFFERED = "METSEG_DASHBOARD_MODELS"  # environment variable of a dashboard's kernel
Scan = Literal["slice", "volume"]
# The kinds of network to take for each, the best first; then any other.
_FIRST: dict[Scan, tuple[str, ...]] = {"slice": ("lgg",), "volume": ("mets", "lgg")}


def kind_of(description: Mapping[str, Any]) -> str:
    """Returns what a network knows, such as `lgg`, from its `model.json`; "" where nothing tells."""
    return description.get("kind") or KINDS.get(description["data"]["name"], "")


def fitting(models: Mapping[str, Mapping[str, Any]], scan: Scan, name: str | None = None) -> list[str]:
    """Returns the names of networks, the one to take first for a kind of scan.

    Those that know what the scan is likely to show come first: of a slice the FLAIR abnormality of glioma, of
    a volume metastases, and else glioma. One of which nothing tells what it knows is taken to fit.

    Args:
        models: {name: its `model.json`}, of each kind the better ones first.
        scan: What is to be segmented.
        name: Of one of them; or of an architecture, for those called KIND-NETWORK. All if left out.
    """
    named = [each for each in models if name in (None, each)]
    named = named or [each for each in models if each.rpartition("-")[2] == name]
    order = {"": 0, **{kind: k for k, kind in enumerate(_FIRST[scan])}}
    return sorted(named, key=lambda each: order.get(kind_of(models[each]), len(order)))


def released_for(scan: Scan, name: str | None = None) -> tuple[Path, str] | None:
    """Returns the folder of the released network to take for a kind of scan, and why, if that is left open.

    Of an architecture's name there may be none. Raises `MetsegError` if none at all is released.
    """
    models = released_models(released_dir())
    if not (found := fitting(models, scan, name)):
        return None
    why, wanted = f"taken for {scan}s by kind and validation Dice", _FIRST[scan][0]
    if kind_of(models[found[0]]) not in ("", wanted):
        why = f"taken for {scan}s, for there is no {f'{wanted}-{name}' if name else f'{wanted} network'}"
    return released_dir() / found[0], "" if found[0] == name else why


def default_for(models: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Scan]]:
    """Returns {name: the kinds of scan for which it is taken where none is named}."""
    first = {scan: fitting(models, scan)[0] for scan in get_args(Scan)}
    return {name: [scan for scan, taken in first.items() if taken == name] for name in models}


def released_models(folder: Path) -> dict[str, dict]:
    """Returns {model name: its `model.json`}: those that fit slices first, of a kind the better ones first.

    What counts is the validation Dice of what a network is taken for: of metastases that of volumes, else
    that of single slices.

    Raises:
        MetsegError: There is none, or one is damaged.
    """
    found = described_models({path.parent.name: path.parent for path in Path(folder).glob("*/model.json")})
    if not found:
        raise MetsegError(f"no released model in {shown(folder)}; train one and call: metseg release RUN")

    def served_dice(name: str) -> float:
        whole = found[name].get("validation_dice")
        alone = found[name].get("validation_dice_single_slices", whole)
        return (whole if kind_of(found[name]) == "mets" else alone) or 0

    best_first = sorted(sorted(found), key=served_dice, reverse=True)
    return {name: found[name] for name in fitting({name: found[name] for name in best_first}, "slice")}


def described_models(folders: Mapping[str, Path]) -> dict[str, dict]:
    """Returns {name: its `model.json`} of exported models, in their order.

    Raises:
        MetsegError: One is damaged.
    """
    return {name: read_description(Path(folder) / "model.json")[1] for name, folder in folders.items()}


def offered_models() -> Path | dict[str, Path]:
    """Returns what a dashboard's kernel shall offer, as `metseg dashboard --model` told it: {name: folder};
    else the folder of the released models."""
    told = os.environ.get(OFFERED)
    return {name: Path(folder) for name, folder in json.loads(told).items()} if told else released_dir()


def scores_told(description: dict | Path) -> str:
    """Returns one line on what a network is worth, from its `model.json` or the path of one."""
    if isinstance(description, Path):
        try:
            _, description = read_description(description)
        except MetsegError as error:
            return str(error)
    lines = [f"{released_name(description)}, trained on {description['data']['name']}"]
    if (dice := description.get("validation_dice")) is not None:
        lines.append(f"validation Dice {dice:.3f}")
        if (alone := description.get("validation_dice_single_slices")) is not None:
            lines[-1] += f", slice by slice {alone:.3f}"
    for key, what in (("held_out", "held-out"), ("out_of_fold", "cross-validated")):
        if of := description.get(key):
            lines.append(f"mean volume Dice of {of['n_patients']} {what} patients {of['dice_mean']:.3f}")
    return "; ".join(lines)


def released_name(description: Mapping[str, Any]) -> str:
    """Returns what a network is called once it is released, KIND-NETWORK, from its `model.json`."""
    return "-".join(filter(None, (kind_of(description), description["name"])))
