"""What the trials of a sweep left: validation Dice patient by patient, learning curves, rankings.

Whoever chooses among trials does so by validation patients; those held out have no part in it.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import make_folder, read_json, shown, write_text
from metseg.export.pareto import on_front
from metseg.metrics.statistics import holm, paired_test
from metseg.training.run_folder import RunFolder

PATIENTS, CURVES = "patients.csv", "curves.csv"  # of a sweep whose trials' own folders were not kept


def newest_sweep(sweeps: Path) -> Path | None:
    """Returns the sweep below a folder whose table was written last, if there is any."""
    tables = Path(sweeps).glob("*/results.csv")
    found = max(tables, key=lambda path: path.stat().st_mtime, default=None)
    return found.parent if found else None


def parameters_of(table: pd.DataFrame) -> list[str]:
    """Returns what a sweep varies, the network first and without the seed; takes `read_sweep`'s table."""
    names = [*table.columns]
    return [name for name in names[1 : names.index("seed")] if len(table[name].unique()) > 1]


def done_trials(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the trials that have a score, the best validation Dice first, and `on_front`.

    `on_front` says that no other trial took less time and scored as high.

    Raises:
        MetsegError: There is none.
    """
    done = table[(table.state == "done") & table.validation_dice.notna()]
    if done.empty:
        counts = ", ".join(f"{count} {state}" for state, count in table.state.value_counts().items())
        raise MetsegError(f"no trial of this sweep is done yet ({counts or 'it is empty'}); look again later")
    done = done.assign(on_front=on_front(done.seconds, done.validation_dice))
    return done.sort_values("validation_dice", ascending=False, kind="stable")


def patient_dice(done: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Returns the validation Dice of each patient with a lesion, a row a trial and a column a patient.

    It is NaN where a trial did not have a patient; a trial that keeps no Dice of patients has no row.

    Args:
        done: Rows of a sweep's table.
        folder: Of the sweep; its `patients.csv` stands in for trials whose own folder is gone.
    """
    kept = pd.DataFrame()
    if (path := Path(folder) / PATIENTS).exists():
        kept = _read(path, index_col="trial", dtype={"trial": str})
    rows = {}
    for row in done.itertuples():
        run = RunFolder(row.run_folder)
        if row.run_folder and run.is_exported:
            of = read_json(run.description).get("validation_dice_of_patients")
        else:
            of = kept.loc[row.trial].to_dict() if row.trial in kept.index else None
        if of:
            rows[row.trial] = of
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("trial")


def learning_curves(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Returns `trial` and the columns of `history.csv`, an epoch a row, of those that kept it."""
    path, found = Path(folder) / CURVES, []
    kept = _read(path, dtype={"trial": str}) if path.exists() else None
    for row in rows.itertuples():
        history = RunFolder(row.run_folder).history
        if row.run_folder and history.exists():
            found.append(_read(history).assign(trial=row.trial))
        elif kept is not None:
            found.append(kept[kept.trial == row.trial])
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["trial", "epoch"])


def rank_settings(done: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """Ranks the settings, each by its mean over seeds, and holds each against the first, patient by patient.

    Args:
        done: `done_trials`.
        patients: `patient_dice` of the same sweep.

    Returns:
        A row a setting, the best first: `trial` (its best seed), the varied parameters, `seeds`; `dice`,
        `dice_low` and `dice_high` (mean, lowest and highest over seeds); `seconds` (mean); `difference` to
        the first with its 95 % interval over patients, `p_holm` (Wilcoxon, over all rows), NaN in the first.
        The first was chosen by these figures: the test says too often that it is better.
    """
    names = parameters_of(done) or ["model"]
    rows, of_patients = [], []
    for values, same in done.groupby(names, sort=False):
        dice = same.validation_dice
        of_patients.append(patients.reindex(same.trial).dropna(how="all").mean())
        rows.append(
            {
                "trial": same.trial.iloc[0],
                **dict(zip(names, values, strict=True)),
                **{"seeds": len(same), "dice": dice.mean(), "dice_low": dice.min(), "dice_high": dice.max()},
                "seconds": same.seconds.mean(),
            }
        )
    table = pd.DataFrame(rows)
    order = np.argsort(-table.dice.to_numpy(), kind="stable")
    table, of_patients = table.iloc[order].reset_index(drop=True), [of_patients[k] for k in order]
    tests = [paired_test(*_shared(dice, of_patients[0])) for dice in of_patients[1:]]
    for end in ("", "_low", "_high"):
        table[f"difference{end}"] = [np.nan, *(test[f"mean_difference{end}"] for test in tests)]
    table["p_holm"] = [np.nan, *holm([test["p_value"] for test in tests])]
    return table


def write_sweep_results(
    folder: Path, target: Path, patients: pd.DataFrame, curves: pd.DataFrame, **tables: pd.DataFrame
) -> list[Path]:
    """Writes all that a sweep's figures need into a folder that can be shown without its trials.

    Args:
        folder: Of the sweep; its `results.csv` and `sweep.yml` are copied.
        target: The folder.
        patients, curves: `patient_dice` and `learning_curves`.
        **tables: Others, by the names of their files.
    """
    make_folder(target)
    copies = [Path(folder) / name for name in ("results.csv", "sweep.yml")]
    written = [Path(shutil.copy(path, target)) for path in copies if path.exists()]
    for name, table in {"patients": patients.reset_index(), "curves": curves, **tables}.items():
        write_text(path := Path(target) / f"{name}.csv", table.to_csv(index=False))
        written.append(path)
    return written


def _shared(a: pd.Series, b: pd.Series) -> Sequence[pd.Series]:
    both = a.dropna().index.intersection(b.dropna().index)
    return a[both], b[both]


def _read(path: Path, **options) -> pd.DataFrame:
    try:
        return pd.read_csv(path, **options)
    except (OSError, ValueError) as error:
        raise MetsegError(f"{shown(path)} cannot be read ({error}); run this sweep again") from error
