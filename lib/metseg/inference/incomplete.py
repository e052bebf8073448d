"""A scan that lacks a sequence: whether a network takes it with another in its place, and what that costs."""

from collections.abc import Collection, Mapping

from pydantic import BaseModel, Field

from metseg.base.errors import MetsegError
from metseg.data.volume import NEVER_MISSING, SEQUENCES


class IncompleteDice(BaseModel):
    """What missing sequences cost a network, measured on validation patients; `model.json` keeps it.

    Attributes:
        scans: How many scans were measured.
        complete: Their mean volume Dice with all sequences.
        without: The same by `missing_key`.
    """

    scans: int = Field(ge=1)
    complete: float
    without: dict[str, float]


def missing_key(missing: Collection[str]) -> str:
    """Returns what a set of missing sequences is called in `model.json`, such as "t1+flair".

    Raises:
        ValueError: One of them is no sequence.
    """
    if unknown := {*missing} - SEQUENCES.keys():
        raise ValueError(f"unknown sequences {sorted(unknown)}; valid are {', '.join(SEQUENCES)}")
    return "+".join(each for each in SEQUENCES if each in missing)


def notes_on_missing(description: Mapping, missing: Collection[str], name: str) -> list[str]:
    """Returns a sentence on what it costs that a scan lacks sequences, where that was measured.

    Args:
        description: The network's `model.json`.
        missing: The sequences in whose place another one stands, see `Scan`.
        name: What to call the scan in an error.

    Raises:
        MetsegError: The network has never learned without one of them.
    """
    needed = description.get("never_missing", NEVER_MISSING)
    if needed in missing:
        network = description["name"]
        text = f"{name} has no {needed}, and {network} has never learned to do without"
        raise MetsegError(f"{text}; add it, or choose another network")
    if not missing or "incomplete_dice" not in description:
        return []
    known = IncompleteDice(**description["incomplete_dice"])
    if (dice := known.without.get(missing_key(missing))) is None:
        return []
    scans = f"{known.scans} validation scan{'s' * (known.scans != 1)}"
    before, after = round(known.complete, 2), round(dice, 2)
    told = f"changed the mean Dice by {after - before:+.2f} ({before:.2f} to {after:.2f})"
    return [f"On {scans}, doing without {' and '.join(missing)} {told}."]
