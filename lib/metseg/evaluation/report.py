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
from metseg.base.files import read_json, replacing, shown, taking_apart, write_json
from metseg.metrics.compare import DEFINITIONS, combine_cases, compare_models
from metseg.plots.results import plot_dice_by_size, plot_paired, plot_patient_dice, plot_summary
from metseg.plots.scans import plot_predictions
from metseg.plots.style import save_figure, use_style
from metseg.training.find import model_folders
from metseg.training.run_folder import RunFolder


@dataclass(frozen=True)
class Comparison:
    """Networks side by side on the same held-out patients.

    Attributes:
        summary: One row a network, best mean volume Dice first; columns as in `compare.DEFINITIONS`, then
            parameters, seconds_per_slice, train_minutes, validation_dice (it chose settings), encoder.
        pairs: One row a pair of networks; see `compare_models`.
        dice: Volume Dice, one row a patient and one column a network.
        tables: {network: one row a patient}.
        folders: {network: its folder, or one for each fold of a cross-validation}.
        predict_nothing: Slice Dice with "empty = 1" of predicting nothing at all.
        data: What the patients are.
        caution: What may not be concluded.
        nothing: The networks that mark nothing on the validation patients of any of their trainings.
    """

    summary: pd.DataFrame
    pairs: pd.DataFrame
    dice: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    folders: dict[str, tuple[Path, ...]]
    predict_nothing: float
    data: str
    caution: str
    nothing: frozenset[str] = frozenset()

    @property
    def best(self) -> str | None:
        """The network with the highest mean volume Dice of those that mark anything, if any does."""
        return next((name for name in self.summary.model if name not in self.nothing), None)

    @property
    def first(self) -> str:
        """The best network, or the first one where none marks anything: whose examples are shown."""
        return self.best or self.summary.model.iloc[0]

    def folders_of(self, network: str) -> tuple[Path, ...]:
        """Returns the folders of a network.

        Raises:
            MetsegError: It is not compared here; the text lists those that are.
        """
        if network not in self.folders:
            raise MetsegError(f"no scores of {network!r} here; valid are {', '.join(self.folders)}")
        return self.folders[network]


def read_comparison(run_folders: Sequence[Path]) -> Comparison:
    """Compares all evaluated networks of one or more runs; of several runs each is named `run/network`.

    Args:
        run_folders: Folders of runs, with all their networks, or of single networks.

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
    """Compares networks, each by the scores in one or more folders.

    Args:
        folders: {name: folders of trainings}; those of several hold out different patients.

    Raises:
        MetsegError: The networks were evaluated on different patients, or one on a patient twice.
    """
    tables = {name: _joined(paths) for name, paths in folders.items()}
    try:
        summary, pairs = compare_models(tables)
    except ValueError as error:
        raise MetsegError(f"{error}; compare runs with the same data and split") from error
    cost = pd.DataFrame([_cost(name, paths) for name, paths in folders.items()])
    combined = {name: combine_cases(per_patient) for name, (per_patient, _) in tables.items()}
    description = RunFolder(next(iter(folders.values()))[0]).description
    with taking_apart(description):
        data, caution = (read_json(description)["data"][name] for name in ("name", "caution"))
    return Comparison(
        summary=summary.merge(cost, on="model"),
        pairs=pairs,
        dice=pd.DataFrame({name: combined[name].dice for name in summary.model}),
        tables={name: combined[name] for name in summary.model},
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
    per_patient, per_slice = zip(*(RunFolder(folder).read_tables() for folder in folders), strict=True)
    return pd.concat(per_patient, ignore_index=True), pd.concat(per_slice, ignore_index=True)


def _cost(name: str, folders: Sequence[Path]) -> dict:
    """Returns what a network's trainings took: minutes all together, the rest in the mean."""
    parameters, per_slice, seconds, validation, encoders = [], [], [], [], []
    for run in map(RunFolder, folders):
        with taking_apart(run.scored, f"call: metseg export {run}"):
            scored = read_json(run.scored)
            parameters.append(scored["parameters"])
            per_slice.append(float(scored["seconds_per_slice"]))
        with taking_apart(run.manifest):
            manifest = read_json(run.manifest) if run.is_finished else {"train_seconds": np.nan}
            seconds.append(manifest["train_seconds"])
            encoders.append(manifest.get("config", {}).get("encoder", "plain"))
        validation.append(read_json(run.description).get("validation_dice"))
    return {
        "model": name,
        "parameters": parameters[0],
        "seconds_per_slice": float(np.mean(per_slice)),
        "train_minutes": sum(seconds) / 60,
        "validation_dice": None if None in validation else float(np.mean(validation)),
        "encoder": encoders[0],
    }


def read_examples(comparison: Comparison, model: str) -> dict[str, tuple[np.ndarray, ...]]:
    """Returns {title with the Dice: (image, mask_ref, mask_pred)} of the fullest slice of the worst, the
    median and the best patient of a network.

    Raises:
        MetsegError: No patient has a Dice, or a file of examples is missing or damaged.
    """
    ranked = comparison.dice[model].dropna().sort_values()
    if ranked.empty:
        raise MetsegError(f"no held-out patient of {model} has a Dice: no lesion, no prediction")
    paths = [RunFolder(folder).examples for folder in comparison.folders[model]]
    per_patient, _ = _joined(comparison.folders[model])
    cases = per_patient.groupby("patient_id").case_id.agg(sorted)
    places = {"worst": 0, "median": len(ranked) // 2, "best": len(ranked) - 1}
    examples = {}
    try:
        with ExitStack() as stack:
            arrays = ChainMap(*(stack.enter_context(np.load(path)) for path in paths))
            for place, k in places.items():
                patient = ranked.index[k]
                # Of a patient's scans the one whose slice holds most lesion.
                case = max(cases[patient], key=lambda case: arrays[f"{case}/mask_ref"].sum())
                title = f"{place}: {patient}\nvolume Dice {ranked.iloc[k]:.2f}"
                parts = ("image", "mask_ref", "mask_pred")
                examples[title] = tuple(arrays[f"{case}/{part}"] for part in parts)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        where, folders = " or ".join(map(shown, paths)), " ".join(map(shown, comparison.folders[model]))
        raise MetsegError(f"{where} is missing or damaged; call: metseg export {folders}") from error
    return examples


def write_comparison(comparison: Comparison, folder: Path, *, channel: int = 1) -> list[Path]:
    """Writes a comparison's tables and figures; the examples are shown in one channel.

    Returns:
        summary.csv, pairs.csv, dice_per_patient.csv, comparison.json, then the figures.

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
        with replacing(folder / f"{name}.csv") as partial:
            frame.to_csv(partial, index=False)
    record = {
        "data": comparison.data,
        "caution": comparison.caution,
        "best": comparison.best,
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
