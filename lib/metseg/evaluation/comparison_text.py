"""A written comparison in words, as commands show it, and where it is written."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from metseg.base.files import read_json
from metseg.base.labels import label_of
from metseg.training.find import is_network


def comparison_told(folder: Path) -> str:
    """Returns the table of a written comparison in words: means with intervals, and what may be concluded."""
    record = read_json(Path(folder) / "comparison.json")
    rows = [
        {
            "network": label_of(row["model"], row.get("encoder", "plain")),
            "mean": _with_interval(row, "dice_mean"),
            "median": _with_interval(row, "dice_median"),
            "validation": f"{row['validation_dice']:.3f}" if row["validation_dice"] is not None else "–",
            "pooled": _with_interval(row, "pooled_dice"),
            "false positives a patient": f"{row['false_positives_per_patient']:.1f}",
            "ms a slice": f"{1000 * row['seconds_per_slice']:.0f}",
        }
        for row in record["summary"]
    ]
    text = f"Volume Dice of held-out patients, 95 % bootstrap intervals. {record['caution']}\n\n"
    text += pd.DataFrame(rows).to_string(index=False)
    if nothing := record.get("predicts_nothing"):
        text += f"\nfinds nothing in its validation patients, so never the best: {', '.join(nothing)}"
    return text


def _with_interval(row: dict, name: str) -> str:
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    interval = "" if low is None else f" ({low:.3f}–{high:.3f})"
    return "undefined" if value is None else f"{value:.3f}{interval}"


def comparison_folder(folders: Sequence[Path]) -> Path:
    """Returns where a comparison of runs, or of single networks, is written unless told: beside the first."""
    first, of_networks = folders[0], is_network(folders[0])
    names = [f"{path.parent.name}-{path.name}" if is_network(path) else path.name for path in folders]
    home = first.parent if of_networks else first
    return home / "-".join(["comparison", *(names if of_networks else names[1:])])
