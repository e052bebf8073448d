"""A trained network becomes one of those that dashboard and service offer."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown, sole_writer, taking_apart, write_text
from metseg.evaluation.origin import knows_only_the_phantom
from metseg.inference.description import ONNX_FILES, install, served_sha256
from metseg.metrics.compare import summarise
from metseg.release.card import model_card
from metseg.release.out_of_fold import out_of_fold_scores
from metseg.release.released import described, released_models, scores_told
from metseg.training.run_folder import RunFolder

MAX_MB = 40  # of a file; a released model is part of the repository


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
    described(run.description)
    with taking_apart(run.manifest):
        card = model_card(description, manifest, scores)
    return Releasable(run.path, tuple({"model.onnx", served}), description, card)


def release(model: Releasable, folder: Path) -> Path:
    """Copies a model to the released ones, in place of one of the same name; returns its folder there."""
    target = Path(folder) / model.description["name"]
    with sole_writer(folder):
        install({name: model.model_dir / name for name in model.files}, model.description, target)
        write_text(target / "README.md", model.card)
    return target


def _own_scores(run: RunFolder) -> dict:
    """Returns `compare.summarise` of the patients that a model holds out, if it is scored as it is now."""
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


def check_run(
    folders: Sequence[Path], crossval: Path | None, *, phantom_network: bool = False
) -> list[Releasable]:
    """Returns what `release` copies of a run's networks, all checked before one is released.

    Args:
        folders: Folders of finished trainings.
        crossval: Folder of the cross-validation whose scores count; None takes each network's own.
        phantom_network: Whether one that knows only the phantom may be offered to everybody.

    Raises:
        MetsegError: One knows only the phantom, or is not fit, see `check_releasable`, `out_of_fold_scores`.
    """
    scores = [out_of_fold_scores(crossval, folder) if crossval else None for folder in folders]
    checked = [check_releasable(folder, out_of_fold=of) for folder, of in zip(folders, scores, strict=True)]
    for each in checked:
        if knows_only_the_phantom(each.description) and not phantom_network:
            raise MetsegError(
                f"{shown(each.model_dir)} knows only the phantom, and would be what a bare "
                f"{each.description['name']} stands for; give --phantom-network to release it all the same"
            )
    return checked


def replaced_told(checked: Sequence[Releasable], released: Path) -> dict[str, str]:
    """Returns {released network that one of a run would replace: both in a line each}."""
    names = {each.description["name"]: each for each in checked}
    return {
        name: f"released so far: {scores_told(released / name / 'model.json')}\n"
        f"in its place:    {scores_told(each.description)}"
        for name, each in names.items()
        if (released / name).exists()
    }


def released_told(released: Path) -> str:
    """Returns a line for each released network: its Dice and data."""
    return "\n".join(
        f"{name}: validation Dice {each['validation_dice']:.3f}, slice by slice "
        f"{each['validation_dice_single_slices']:.3f}; {each['data']['name']}"
        for name, each in released_models(released).items()
    )
