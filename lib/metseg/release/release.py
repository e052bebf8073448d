"""A trained network becomes one of those that dashboard and service offer."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metseg.base.errors import MetsegError
from metseg.base.files import file_sha256, read_json, shown, sole_writer, taking_apart, write_text
from metseg.evaluation.lesion_scores import found_by_size
from metseg.evaluation.origin import knows_only_the_phantom
from metseg.inference.description import ONNX_FILES, install, read_description, served_sha256
from metseg.metrics.compare import summarise
from metseg.release.card import model_card
from metseg.release.out_of_fold import out_of_fold_scores
from metseg.release.released import kind_of, released_models, released_name, scores_told
from metseg.training.run_folder import RunFolder

MAX_MB = 40  # of a file; a released model is part of the repository


class Releasable(NamedTuple):
    """An exported and scored model that was found fit to be released."""

    networks: dict[str, Path]  # what is copied: float32 always, int8 beside it if that serves
    description: dict  # its `model.json`, with what was measured
    card: str  # says what it is, in Markdown


def check_run(
    folders: Sequence[Path], crossval: Path | None, *, kind: str = "", phantom_network: bool = False
) -> list[Releasable]:
    """Returns what `release` copies of a run's networks, all checked before one is released.

    Args:
        folders: Folders of finished trainings.
        crossval: Folder of the cross-validation whose scores count; None takes each network's own.
        kind: As in `check_releasable`.
        phantom_network: Whether one that knows only the phantom may be offered to everybody.

    Raises:
        MetsegError: One knows only the phantom, or is not fit, see `check_releasable`, `out_of_fold_scores`.
    """
    scores = [out_of_fold_scores(crossval, folder) if crossval else None for folder in folders]
    pairs = zip(folders, scores, strict=True)
    checked = [check_releasable(folder, out_of_fold=of, kind=kind) for folder, of in pairs]
    for folder, each in zip(folders, checked, strict=True):
        if knows_only_the_phantom(each.description) and not phantom_network:
            raise MetsegError(
                f"{shown(folder)} knows only the phantom, and would be offered to everybody; "
                "give --phantom-network to release it all the same"
            )
    return checked


def check_releasable(model_dir: Path, *, out_of_fold: dict | None = None, kind: str = "") -> Releasable:
    """Returns what `release` copies; nothing is written.

    Args:
        model_dir: Folder of a finished training.
        out_of_fold: Scores of its recipe in a cross-validation, see `out_of_fold.out_of_fold_scores`; without
            them the model's own scores on the patients it holds out count.
        kind: What it knows, which its name begins with; what follows from its data if left out.

    Raises:
        MetsegError: Its data does not tell the kind, or that is no word; or the model was not exported, not
            scored since, finds nothing in its validation patients, holds nobody out and has no scores of a
            cross-validation, has another file than it describes, or one too large to be part of a repository.
    """
    run = RunFolder(model_dir)
    (_, description), manifest = read_description(run.description), read_json(run.manifest)
    description["kind"] = kind or kind_of(description)
    if not re.fullmatch("[a-z0-9]+", description["kind"]):
        why = f"{kind!r} is no word" if kind else f"{description['data']['name']} does not tell"
        raise MetsegError(f"{why} what {run} knows; name it: --as KIND, such as mets for metastases")
    settled = {"validation_patients", "validation_dice_single_slices"}
    if "patch_size" in description:  # it knows no slice alone
        settled.remove("validation_dice_single_slices")
    if not settled <= description.keys():
        raise MetsegError(f"how {run} makes masks was never settled; call: metseg export {run}")
    if run.predicts_nothing or description.get("validation_dice") == 0:
        raise MetsegError(f"{run} finds nothing in its validation patients; train on, or release another one")
    scores = out_of_fold or _own_scores(run)
    served = ONNX_FILES[description.get("precision", "fp32")]
    networks = {name: run.path / name for name in {"model.onnx", served}}
    hashes = {"model.onnx": description["sha256"], served: served_sha256(description)}
    for name, onnx in networks.items():
        if not onnx.is_file() or file_sha256(onnx) != hashes[name]:
            says = "is missing, or not the file that model.json describes"
            raise MetsegError(f"{shown(onnx)} {says}; call: metseg export {run}")
        if (size := onnx.stat().st_size / 1e6) > MAX_MB:
            raise MetsegError(
                f"{shown(onnx)} has {size:.1f} MB, more than {MAX_MB}; train with fewer filters"
            )
    names = ("n_patients", "dice_mean", "dice_mean_low", "dice_mean_high", "dice_median", "folds")
    measured = {name: scores[name] for name in names if name in scores}
    description["out_of_fold" if out_of_fold else "held_out"] = measured
    with taking_apart(run.manifest):
        return Releasable(networks, description, model_card(description, manifest, scores))


def _own_scores(run: RunFolder) -> dict:
    """Returns `compare.summarise` of the patients that a model holds out, and `found`, by size."""
    if not run.read_split().test:
        raise MetsegError(
            f"{run} holds nobody out; name the cross-validation of its recipe: "
            f"metseg release {run} --crossval RUN"
        )
    if not run.scored_as_served:
        raise MetsegError(f"{run} was never scored, or changed since; call: metseg export {run}")
    with taking_apart(run.per_patient, f"call: metseg export {run}"):
        return {**summarise(*run.read_tables()), "found": found_by_size([run.path])}


def release(model: Releasable, folder: Path) -> Path:
    """Copies a model to the released ones, in place of one of the same name; returns its folder there."""
    target = Path(folder) / released_name(model.description)
    with sole_writer(folder):
        install(model.networks, model.description, target)
        write_text(target / "README.md", model.card)
    return target


def replaced_told(checked: Sequence[Releasable], released: Path) -> dict[str, str]:
    """Returns {released network that one of a run would replace: both in a line each}."""
    names = {released_name(each.description): each for each in checked}
    return {
        name: f"released so far: {scores_told(released / name / 'model.json')}\n"
        f"in its place:    {scores_told(each.description)}"
        for name, each in names.items()
        if (released / name).exists()
    }


def released_told(released: Path) -> str:
    """Returns a line for each released network, see `scores_told`."""
    return "\n".join(map(scores_told, released_models(released).values()))
