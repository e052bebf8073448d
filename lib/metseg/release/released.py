"""The models that come with the checkout, and what dashboard and service offer of them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.base.paths import released_dir
from metseg.inference.description import read_description

OFFERED = "METSEG_DASHBOARD_MODELS"  # environment variable of a dashboard's kernel


def released_models(folder: Path) -> dict[str, dict]:
    """Returns {model name: its `model.json`}, the default first.

    That is the one with the best validation Dice on single slices, which is what is served.

    Raises:
        MetsegError: There is none, or one is damaged.
    """
    found = described_models({path.parent.name: path.parent for path in Path(folder).glob("*/model.json")})
    if not found:
        raise MetsegError(f"no released model in {shown(folder)}; train one and call: metseg release RUN")

    def served_dice(name: str) -> float:
        whole = found[name].get("validation_dice")
        return found[name].get("validation_dice_single_slices", whole) or 0

    return {name: found[name] for name in sorted(sorted(found), key=served_dice, reverse=True)}


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
    lines = [f"{description['name']}, trained on {description['data']['name']}"]
    if (dice := description.get("validation_dice")) is not None:
        lines.append(f"validation Dice {dice:.3f}")
        if (alone := description.get("validation_dice_single_slices")) is not None:
            lines[-1] += f", slice by slice {alone:.3f}"
    for key, what in (("held_out", "held-out"), ("out_of_fold", "cross-validated")):
        if of := description.get(key):
            lines.append(f"mean volume Dice of {of['n_patients']} {what} patients {of['dice_mean']:.3f}")
    return "; ".join(lines)
