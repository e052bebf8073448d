"""A run's networks become released ones together, or none does."""

from collections.abc import Sequence
from pathlib import Path

from metseg.release.out_of_fold import out_of_fold_scores
from metseg.release.released import Releasable, check_releasable, released_models, scores_told


def check_run(folders: Sequence[Path], crossval: Path | None) -> list[Releasable]:
    """Returns what `release` copies of a run's networks, all checked before one is released.

    Args:
        folders: Folders of finished trainings.
        crossval: Folder of the cross-validation whose scores count; None takes each network's own.

    Raises:
        MetsegError: One is not fit, see `check_releasable` and `out_of_fold_scores`.
    """
    scores = [out_of_fold_scores(crossval, folder) if crossval else None for folder in folders]
    return [check_releasable(folder, out_of_fold=of) for folder, of in zip(folders, scores, strict=True)]


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
