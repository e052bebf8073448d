"""results.csv: a row a point, written anew after every trial."""

import csv
import json
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metseg.base.errors import MetsegError
from metseg.base.files import replacing, shown
from metseg.workbook.sweep.plan import Plan, as_text

if TYPE_CHECKING:
    import pandas as pd

RESULTS = "results.csv"
# After the trial's name, its network, the parameters that the sweep varies and its seed.
OUTCOME = ("state", "validation_dice", "epochs", "seconds", "attempts", "machine")
OUTCOME += ("run_folder", "notebook", "reason")
_TEXT = {"trial": str, "model": str, "state": str, "machine": str}
_TEXT |= {"run_folder": str, "notebook": str, "reason": str}


def varied_parameters(plan: Plan) -> list[str]:
    """Returns the parameters that a sweep varies, but for network and seed."""
    return [*(plan.spec.search.parameters if plan.spec.search else plan.spec.grid)]


def write_results(folder: Path, plan: Plan, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes the table whole or not at all; a list becomes JSON."""
    names = ["trial", "model", *varied_parameters(plan), "seed", *OUTCOME]
    home = replacing(folder / RESULTS, durable=False)  # the ledger is what survives a power cut
    with home as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        lists = (list, tuple, dict)
        for row in rows:
            table.writerow([as_text(v) if type(v) in lists else v for v in map(row.get, names)])


def read_sweep(folder: Path) -> "pd.DataFrame":
    """Returns the table of a sweep, finished or under way: a row a point.

    Columns: `trial` (its name), `model`, each parameter that the sweep varies, `seed`, then `state` (waiting,
    running, done, failed or pruned), `validation_dice` (of validation patients, so it flatters; NaN unless
    done), `epochs` (finished), `seconds` (of all tries; of one before the sweep
    was killed, those of its finished epochs), `attempts`, `machine`, `run_folder` (absolute, that
    of the network: config.json, history.csv, model.json, evaluation/), `notebook` (absolute, the executed
    copy, whole or as far as it came), `reason` (why it failed or was given up). What is not known is NaN, or
    an empty text. A parameter that is a list is JSON text.

    Args:
        folder: <output folder>/<the sweep's name>.

    Raises:
        MetsegError: There is no readable table.
    """
    import pandas as pd

    path = Path(folder) / RESULTS
    try:
        table = pd.read_csv(path, dtype=_TEXT, keep_default_na=False, na_values={"validation_dice": [""]})
        for name in ("epochs", "seconds", "attempts"):
            table[name] = pd.to_numeric(table[name])
    except (OSError, ValueError, KeyError) as error:
        raise MetsegError(f"{shown(path)} is missing or damaged ({error}); run metseg sweep again") from None
    for name in ("run_folder", "notebook"):
        table[name] = [str(Path(folder).absolute() / each) if each else "" for each in table[name]]
    return table


def command_of(plan: Plan, row: Mapping[str, Any]) -> str:
    """Returns the command that trains a row's network again, by itself.

    A folder of scans starts at the working directory here, at the notebooks' folder in a sweep.
    """
    names = [*varied_parameters(plan), "seed"]
    values = {**plan.spec.set, **{name: row[name] for name in names}}
    parts = ["metseg", "train", "--model", row["model"], "--profile", plan.spec.profile]
    parts += ["--run-name", f"{plan.spec.name}-best"]
    if scans := str(values.pop("data_dir", "")):
        home = next(iter(plan.notebooks.values())).parent
        parts += [
            "--data-dir",
            f"COPY OF {scans}" if "://" in scans else shown(os.path.normpath(home / scans)),
        ]
    for name, value in values.items():
        parts += ["--set", f"{name}={_typed(value)}"]
    return shlex.join(parts)


def _typed(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value  # NumPy's
    return value if isinstance(value, str) else json.dumps(value)
