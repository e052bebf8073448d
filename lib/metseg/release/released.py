"""The models that come with the checkout, and how a trained one becomes one of them."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown, sole_writer, taking_apart, write_text
from metseg.base.paths import released_dir
from metseg.masks.postprocess import Postprocessing
from metseg.preprocessing.pipeline import Preprocessing

OFFERED = "METSEG_DASHBOARD_MODELS"  # environment variable of a dashboard's kernel
MAX_MB = 40  # of a file; a released model is part of the repository


def released_models(folder: Path) -> dict[str, dict]:
    """Returns {model name: its `model.json`}, the default first.

    That is the one with the best validation Dice on single slices, which is what is served.

    Raises:
        MetsegError: There is none.
    """
    found = {path.parent.name: _described(path) for path in sorted(Path(folder).glob("*/model.json"))}
    if not found:
        raise MetsegError(f"no released model in {shown(folder)}; train one and call: metseg release RUN")

    def served_dice(name: str) -> float:
        whole = found[name].get("validation_dice")
        return found[name].get("validation_dice_single_slices", whole) or 0

    return {name: found[name] for name in sorted(found, key=served_dice, reverse=True)}


def described_models(folders: Mapping[str, Path]) -> dict[str, dict]:
    """Returns {name: its `model.json`} of exported models, in their order.

    Raises:
        MetsegError: One is damaged.
    """
    return {name: _described(Path(folder) / "model.json") for name, folder in folders.items()}


def offered_models() -> Path | dict[str, Path]:
    """Returns what a dashboard's kernel shall offer, as `metseg dashboard --model` told it: {name: folder};
    else the folder of the released models."""
    told = os.environ.get(OFFERED)
    return {name: Path(folder) for name, folder in json.loads(told).items()} if told else released_dir()


def _described(path: Path) -> dict:
    """Returns a `model.json` in which all is found that the pages and answers quote."""
    from metseg.inference.description import checked_name

    description = read_json(path)
    try:
        quoted = [description["data"][name] for name in ("name", "licence", "caution")]
        whole = all(isinstance(text, str) for text in [*quoted, description["sha256"]])
        checked_name(description["name"])
        Postprocessing(**description["postprocessing"])
        Preprocessing(**description["preprocessing"])
        figures = [description.get(f"validation_dice{end}") for end in ("", "_single_slices")]
        whole &= all(figure is None or isinstance(figure, float | int) for figure in figures)
        whole &= isinstance(description["parameters"], int) and bool(description["input"]["channels"])
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise MetsegError(f"{shown(path)} is damaged; export and release the model again")
    return description


class Releasable(NamedTuple):
    """An exported and scored model that was found fit to be released.

    Attributes:
        model_dir: Its folder.
        files: Those of its networks that are copied: float32 always, int8 beside it if that serves.
        description: Its `model.json`, with what was measured.
        card: Says what it is, in Markdown.
    """

    model_dir: Path
    files: tuple[str, ...]
    description: dict
    card: str


def check_releasable(model_dir: Path, *, out_of_fold: dict | None = None) -> Releasable:
    """Returns what `release` copies; nothing is written.

    Args:
        model_dir: Folder of a finished training.
        out_of_fold: Scores of its recipe in a cross-validation, see `out_of_fold.out_of_fold_scores`; without
            them the model's own scores on the patients it holds out count.

    Raises:
        MetsegError: The model was not exported, not scored since, finds nothing in its validation patients,
            holds nobody out and has no scores of a cross-validation, has another file than it describes, or
            one too large to be part of a repository.
    """
    from metseg.inference.description import ONNX_FILES, served_sha256
    from metseg.release.card import model_card

    run = RunFolder(model_dir)
    description, manifest = read_json(run.description), read_json(run.manifest)
    if not {"validation_patients", "validation_dice_single_slices"} <= description.keys():
        raise MetsegError(f"how {run} makes masks was never settled; call: metseg export {run}")
    if run.predicts_nothing or description.get("validation_dice") == 0:
        raise MetsegError(f"{run} finds nothing in its validation patients; train on, or release another one")
    scores = out_of_fold or _own_scores(run)
    served = ONNX_FILES[description.get("precision", "fp32")]
    for name, expected in {"model.onnx": description["sha256"], served: served_sha256(description)}.items():
        _complain_if_unfit(run.path / name, expected)
    names = ("n_patients", "dice_mean", "dice_mean_low", "dice_mean_high", "dice_median", "folds")
    measured = {name: scores[name] for name in names if name in scores}
    description["out_of_fold" if out_of_fold else "held_out"] = measured
    _described(run.description)
    with taking_apart(run.manifest):
        card = model_card(description, manifest, scores)
    return Releasable(run.path, tuple({"model.onnx", served}), description, card)


def scores_told(description: dict | Path) -> str:
    """Returns one line on what a network is worth, from its `model.json` or the path of one."""
    if isinstance(description, Path):
        try:
            description = _described(description)
        except MetsegError as error:
            return str(error)
    lines = [f"{description['name']}, trained on {description['data']['name']}"]
    if (dice := description.get("validation_dice")) is not None:
        lines.append(f"validation Dice {dice:.3f}")
    for key, what in (("held_out", "held-out"), ("out_of_fold", "cross-validated")):
        if of := description.get(key):
            lines.append(f"mean volume Dice of {of['n_patients']} {what} patients {of['dice_mean']:.3f}")
    return "; ".join(lines)


def release(model: Releasable, folder: Path) -> Path:
    """Copies a model to the released ones, in place of one of the same name; returns its folder there."""
    from metseg.inference.description import install

    target = Path(folder) / model.description["name"]
    with sole_writer(folder):
        install({name: model.model_dir / name for name in model.files}, model.description, target)
        write_text(target / "README.md", model.card)
    return target


def _own_scores(run: RunFolder) -> dict:
    """Returns `compare.summarise` of the patients that a model holds out, if it is scored as it is now."""
    from metseg.metrics.compare import summarise

    if not run.read_split().test:
        raise MetsegError(
            f"{run} holds nobody out; name the cross-validation of its recipe: "
            f"metseg release {run} --crossval RUN"
        )
    if not run.scored_as_served:
        raise MetsegError(f"{run} was never scored, or changed since; call: metseg export {run}")
    with taking_apart(run.per_patient, f"call: metseg export {run}"):
        return summarise(*run.read_tables())


def _complain_if_unfit(onnx: Path, sha256: str) -> None:
    where = shown(onnx.parent)
    if not onnx.is_file() or hashlib.sha256(onnx.read_bytes()).hexdigest() != sha256:
        raise MetsegError(
            f"{shown(onnx)} is missing, or not the file that model.json describes; "
            f"call: metseg export {where}"
        )
    if (size := onnx.stat().st_size / 1e6) > MAX_MB:
        raise MetsegError(f"{shown(onnx)} has {size:.1f} MB, more than {MAX_MB}; train with fewer filters")
