"""Reads what trainings wrote about held-out patients and writes one comparison of it."""

import itertools
import json
import zipfile
import zlib
from collections import ChainMap
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown, taking_apart, write_json, write_text
from metseg.base.labels import label_of
from metseg.evaluation.evaluate import example
from metseg.metrics.compare import DEFINITIONS, combine_cases, compare_models
from metseg.plots.results import plot_dice_by_size, plot_paired, plot_patient_dice, plot_summary
from metseg.plots.scans import plot_predictions
from metseg.plots.style import save_figure, use_style
from metseg.training.find import is_network, model_folders
from metseg.training.run_folder import RunFolder


@dataclass(frozen=True)
class Comparison:
    """Networks side by side on the same held-out patients.

    `summary` has a row a network, best mean volume Dice first; columns as in `compare.DEFINITIONS`, then
    parameters, seconds_per_slice, train_minutes, validation_dice (it chose settings), encoder.
    """

    summary: pd.DataFrame
    pairs: pd.DataFrame  # of `compare_models`
    dice: pd.DataFrame  # volume Dice, one row a patient and one column a network
    tables: dict[str, pd.DataFrame]  # {network: one row a patient}
    folders: dict[str, tuple[Path, ...]]  # {network: its folder, or one for each fold}
    predict_nothing: float  # slice Dice with "empty = 1" of predicting nothing at all
    data: str  # what the patients are
    caution: str  # what may not be concluded
    nothing: frozenset[str]  # networks that mark nothing on their validation patients

    @property
    def best(self) -> str | None:
        """The network with the highest mean volume Dice of those that mark anything, if any does."""
        return next((name for name in self.summary.model if name not in self.nothing), None)

    @property
    def first(self) -> str:
        """The best network, or the first one where none marks anything: whose examples are shown."""
        return self.best or self.summary.model.iloc[0]

    def folders_of(self, network: str) -> tuple[Path, ...]:
        """Returns a network's folders, or raises a `MetsegError` that lists those compared here."""
        if network not in self.folders:
            raise MetsegError(f"no scores of {network!r} here; valid are {', '.join(self.folders)}")
        return self.folders[network]


def read_comparison(run_folders: Sequence[Path]) -> Comparison:
    """Compares all evaluated networks of runs, or single ones; of several runs each is named `run/network`.

    Raises:
        MetsegError: A run is missing or unfinished, or the networks were evaluated on different patients.
    """
    folders = {}
    for run in map(Path, run_folders):
        for model, folder in model_folders(run).items():
            name = f"{folder.resolve().parent.name}/{model}" if len(run_folders) > 1 else model
            if name in folders:
                raise MetsegError(f"{folders[name]} and {folder} are both {name}; rename one run's folder")
            folders[name] = folder
    return compared({name: (folder,) for name, folder in folders.items()})


def compared(folders: Mapping[str, Sequence[Path]]) -> Comparison:
    """Compares networks, {name: folders of trainings}; those of several hold out different patients.

    Raises:
        MetsegError: The networks were evaluated on different patients, or one on a patient twice.
    """
    tables = {name: _joined(paths) for name, paths in folders.items()}
    try:
        summary, pairs = compare_models(tables)
    except ValueError as error:
        raise MetsegError(f"{error}; compare runs with the same data and split") from error
    cost = pd.DataFrame([_cost(name, paths) for name, paths in folders.items()])
    combined = {name: combine_cases(tables[name][0]) for name in summary.model}
    description = RunFolder(next(iter(folders.values()))[0]).description
    with taking_apart(description):
        data, caution = (read_json(description)["data"][name] for name in ("name", "caution"))
    return Comparison(
        summary=summary.merge(cost, on="model"),
        pairs=pairs,
        dice=pd.DataFrame({name: table.dice for name, table in combined.items()}),
        tables=combined,
        folders={name: tuple(paths) for name, paths in folders.items()},
        predict_nothing=float((next(iter(tables.values()))[1].ref_px == 0).mean()),
        data=data,
        caution=caution,
        nothing=frozenset(
            name for name, paths in folders.items() if all(RunFolder(path).predicts_nothing for path in paths)
        ),
    )


def _joined(folders: Sequence[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the tables of one or more trainings as one of each kind."""
    pairs = zip(*(RunFolder(folder).read_tables() for folder in folders), strict=True)
    per_patient, per_slice = (pd.concat(tables, ignore_index=True) for tables in pairs)
    return per_patient, per_slice


def _cost(name: str, folders: Sequence[Path]) -> dict:
    """Returns what a network's trainings took: minutes all together, the rest in the mean."""
    rows = []
    for run in map(RunFolder, folders):
        with taking_apart(run.scored, f"call: metseg export {run}"):
            scored = read_json(run.scored)
            cost = {name: scored[name] for name in ("parameters", "seconds_per_slice")}
        with taking_apart(run.manifest):  # a released network comes without
            manifest = read_json(run.manifest) if run.is_finished else {"train_seconds": np.nan}
            cost["train_minutes"] = manifest["train_seconds"] / 60
            cost["encoder"] = manifest.get("config", {}).get("encoder", "plain")
        rows.append({**cost, "validation_dice": read_json(run.description).get("validation_dice")})
    table = pd.DataFrame(rows)
    first, means = rows[0], table[["seconds_per_slice", "validation_dice"]].astype(float).mean(skipna=False)
    minutes = table.train_minutes.sum(skipna=False)
    return {"model": name, **first, "train_minutes": minutes, **means.to_dict()}


def read_examples(comparison: Comparison, model: str) -> dict[str, tuple[np.ndarray, ...]]:
    """Returns {title with the Dice: `example`} of the worst, the median and the best patient of a network.

    Raises:
        MetsegError: No patient has a Dice, or a file of examples is missing or damaged.
    """
    ranked = comparison.dice[model].dropna().sort_values()
    if ranked.empty:
        raise MetsegError(f"no held-out patient of {model} has a Dice: no lesion, no prediction")
    paths = [RunFolder(folder).examples for folder in comparison.folders[model]]
    per_patient, _ = _joined(comparison.folders[model])
    examples, places = {}, {"worst": 0, "median": len(ranked) // 2, "best": len(ranked) - 1}
    try:
        with ExitStack() as stack:
            arrays = ChainMap(*(stack.enter_context(np.load(path)) for path in paths))
            for place, k in places.items():
                patient = ranked.index[k]
                title = f"{place}: {patient}\nvolume Dice {ranked.iloc[k]:.2f}"
                cases = sorted(per_patient.case_id[per_patient.patient_id == patient])
                scans = [example(arrays, case) for case in cases]
                examples[title] = max(scans, key=lambda scan: scan[1].sum())  # that holds most lesion
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        where, folders = " or ".join(map(shown, paths)), " ".join(map(shown, comparison.folders[model]))
        raise MetsegError(f"{where} is missing or damaged; call: metseg export {folders}") from error
    return examples


def write_comparison(comparison: Comparison, folder: Path, *, channel: int = 1) -> list[Path]:
    """Writes three tables, `comparison.json` and the figures, whose examples show one channel; returns all.

    Raises:
        MetsegError: No patient has a Dice, or the folder cannot be written to.
    """
    folder = Path(folder)
    examples = read_examples(comparison, comparison.first)
    use_style()
    frames = {
        "summary": comparison.summary,
        "pairs": comparison.pairs,
        "dice_per_patient": comparison.dice.rename_axis("patient_id").reset_index(),
    }
    for name, frame in frames.items():
        write_text(folder / f"{name}.csv", frame.to_csv(index=False))
    record = {
        **{name: getattr(comparison, name) for name in ("data", "caution", "best")},
        "predicts_nothing": sorted(comparison.nothing),
        "slice_dice_empty1_of_predicting_nothing": comparison.predict_nothing,
        "summary": json.loads(comparison.summary.to_json(orient="records")),
        "pairs": json.loads(comparison.pairs.to_json(orient="records")),
        "definitions": DEFINITIONS,
    }
    write_json(folder / "comparison.json", record)
    figures = {
        "summary": plot_summary(comparison.summary),
        "patients": plot_patient_dice(comparison.dice),
        "lesion_load": plot_dice_by_size(comparison.tables),
        "examples_of_best": plot_predictions(examples, columns=3, channel=channel),
    }
    for a, b in itertools.combinations(sorted(comparison.dice), 2):
        figures[f"paired_{a}_{b}".replace("/", "_")] = plot_paired(comparison.dice, a, b)
    saved = [save_figure(axes, folder / f"{name}.png") for name, axes in figures.items()]
    return [*(folder / f"{name}.csv" for name in frames), folder / "comparison.json", *saved]


def comparison_told(folder: Path) -> str:
    """Returns the table of a written comparison in words: means with intervals, and what may be concluded."""
    record = read_json(Path(folder) / "comparison.json")
    lesionwise = [
        name
        for name in ("mets2023_dice", "mets2026_dice")
        if all(row.get(name) is not None for row in record["summary"])
    ]
    rows = [
        {
            "network": label_of(row["model"], row.get("encoder", "plain")),
            "mean": _with_interval(row, "dice_mean"),
            "median": _with_interval(row, "dice_median"),
            "validation": _with_interval(row, "validation_dice", missing="–"),
            "pooled": _with_interval(row, "pooled_dice"),
            "false positives a patient": f"{row['false_positives_per_patient']:.1f}",
            **{f"lesion-wise Dice {name[4:8]}": f"{row[name]:.3f}" for name in lesionwise},
            "ms a slice": f"{1000 * row['seconds_per_slice']:.0f}",
        }
        for row in record["summary"]
    ]
    text = f"Volume Dice of held-out patients, 95 % bootstrap intervals. {record['caution']}\n\n"
    text += pd.DataFrame(rows).to_string(index=False)
    if nothing := record.get("predicts_nothing"):
        text += f"\nfinds nothing in its validation patients, so never the best: {', '.join(nothing)}"
    return text


def _with_interval(row: dict, name: str, *, missing: str = "undefined") -> str:
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    interval = "" if low is None else f" ({low:.3f}–{high:.3f})"
    return missing if value is None else f"{value:.3f}{interval}"


def comparison_folder(folders: Sequence[Path]) -> Path:
    """Returns where a comparison of runs, or of single networks, is written unless told: beside the first."""
    first, of_networks = folders[0], is_network(folders[0])
    names = [f"{path.parent.name}-{path.name}" if is_network(path) else path.name for path in folders]
    home = first.parent if of_networks else first
    return home / "-".join(["comparison", *(names if of_networks else names[1:])])
