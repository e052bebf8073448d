"""A trained network in smaller and faster forms, and which of them may serve."""

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import file_sha256, read_json, replacing, shown, write_json
from metseg.base.hardware import multiplies
from metseg.data.cases import CaseFiles
from metseg.data.split import read_split
from metseg.data.volume import Volume
from metseg.export.agreement import check_agreement
from metseg.export.mask_settings import (
    DICE_TOLERANCE,
    PATIENT_TOLERANCE,
    DiceChange,
    VolumeDice,
    choose_postprocessing,
    dice_change,
    validation_cases,
    volume_dice,
)
from metseg.export.onnx import drafts_in, export_onnx
from metseg.export.quantise import calibration_slices, quantise
from metseg.inference.description import ONNX_FILES, install
from metseg.inference.engines import PRECISIONS, Precision
from metseg.inference.predictor import Predictor
from metseg.preprocessing.pipeline import Preprocessing
from metseg.training.run_folder import RunFolder

_VALIDATION_DICE = {"validation_dice": False, "validation_dice_single_slices": True}
FASTEST_FIRST: tuple[Precision, ...] = ("int8", "bf16", "fp32")


class Exported(NamedTuple):
    """What an export was found to be.

    Attributes:
        precision: What it serves in.
        largest_difference: From the trained network, of a pixel's probability, in float32.
        dice_change: Of the validation patients' volume Dice, against float32.
        dice_change_single_slices: The same, where every slice is segmented by itself.
        dice_change_of_head: Of their mean, for the head that was kept, in float32, against the heads'
            average; None where nothing was pruned.
    """

    precision: Precision
    largest_difference: float
    dice_change: DiceChange = DiceChange()
    dice_change_single_slices: DiceChange = DiceChange()
    dice_change_of_head: float | None = None

    @property
    def largest_change_of_a_patient(self) -> float:
        """In volume Dice, up or down, of whole volumes or slice by slice."""
        return max(abs(self.dice_change.largest), abs(self.dice_change_single_slices.largest))


def precision_of(text: str | None) -> Precision | None:
    """Returns a precision by its name; None stays None.

    Raises:
        MetsegError: There is none of that name.
    """
    if text is not None and text not in PRECISIONS:
        raise MetsegError(f"unknown precision {text!r}; valid are {', '.join(PRECISIONS)}")
    return text


def head_of(text: str | None) -> int | None:
    """Returns k of `Lk`, as U-Net++ names a network that ends with the head on X(0,k); None stays None.

    Raises:
        MetsegError: It is no such name.
    """
    if text is None:
        return None
    if not (found := re.fullmatch(r"[Ll]([1-9])", text)):
        raise MetsegError(f"unknown head {text!r}; valid are L1, L2 and so on, L4 with five levels")
    return int(found[1])


def native_precisions() -> tuple[Precision, ...]:
    """Returns what this CPU multiplies natively, the fastest first; a network can be checked in no other."""
    return tuple(each for each in FASTEST_FIRST if each == "fp32" or multiplies(each))


def export_serving(
    model_dir: Path,
    slices: Sequence[Volume],
    cases: Iterable[CaseFiles],
    *,
    precision: Precision | None = None,
    prune: int | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> Exported:
    """Writes the files that serve, once they were found to be as good.

    They are `model.onnx` in float32, `model.int8.onnx` beside it if it serves in int8, and `model.json`.
    The float32 graph must give the trained network's probabilities, and by it is chosen how masks are made
    of them. Another precision is then held against that graph, its masks made in the same way: the mean
    volume Dice of the validation patients may change by `DICE_TOLERANCE` at most, and that of none by more
    than `PATIENT_TOLERANCE`, for whole volumes and for every slice by itself, as it is uploaded. If one of
    them fails, the files that were there before stay.
    What a pruned head changes is measured, masks by the training's threshold alone, and told; it is never
    refused.

    Args:
        model_dir: Folder of a finished training.
        slices: Volumes of one slice for the first comparison.
        cases: Cases, those of all the training's patients among them.
        precision: What it shall serve in; the fastest that passes if left out.
        prune: Head to keep, as for `export_onnx`.
        on_case: Called with (finished, of) after each validation case, anew for the choice and each Dice.

    Raises:
        MetsegError: A comparison failed, the CPU cannot make it, there is no such head, or another process
            writes to the folder.
    """
    model_dir, cases = Path(model_dir), list(cases)
    able = native_precisions()
    if precision is not None and precision not in able:
        raise MetsegError(
            f"this CPU does not multiply {precision} natively, so that it can be neither checked nor faster; "
            f"export in {' or '.join(able)}"
        )
    tried = able if precision is None else (precision,)
    with drafts_in(model_dir) as drafts:
        whole = Path(drafts) / "fp32"
        export_onnx(model_dir, prune=prune, output=whole)
        done = Exported("fp32", check_agreement(model_dir, slices, exported=whole))
        shutil.copyfile(model_dir / "split.json", whole / "split.json")
        files = validation_cases(whole, cases)

        def dice_of(folder: Path, *, single_slices: bool = False) -> VolumeDice:
            return volume_dice(Predictor(folder), files, single_slices=single_slices, on_case=on_case)

        def dice_in_both_ways(folder: Path) -> dict[str, VolumeDice]:
            return {name: dice_of(folder, single_slices=alone) for name, alone in _VALIDATION_DICE.items()}

        if prune is not None:
            averaged = export_onnx(model_dir, output=Path(drafts) / "averaged").parent
            done = done._replace(dice_change_of_head=dice_change(dice_of(averaged), dice_of(whole)).mean)
        choose_postprocessing(whole, cases, on_case=on_case)
        before = dict[str, VolumeDice]()
        for each in tried:
            if each == "fp32":
                return _keep(whole, model_dir, done)
            before = before or dice_in_both_ways(whole)
            draft = reduce_precision(whole, Path(drafts) / each, each, cases=training_cases(model_dir, cases))
            after = dice_in_both_ways(draft)
            change, change_alone = (dice_change(before[name], after[name]) for name in _VALIDATION_DICE)
            if change.negligible and change_alone.negligible:
                means = {name: dice.mean for name, dice in after.items()}
                write_json(draft / "model.json", {**read_json(draft / "model.json"), **means})
                done = done._replace(
                    precision=each, dice_change=change, dice_change_single_slices=change_alone
                )
                return _keep(draft, model_dir, done)
    raise MetsegError(
        f"{precision} changes the mean Dice of {shown(model_dir)}'s validation patients by "
        f"{change.mean:+.5f}, slice by slice by {change_alone.mean:+.5f}, where {DICE_TOLERANCE} is allowed, "
        f"and one patient's by {change.largest:+.5f} and {change_alone.largest:+.5f}, where "
        f"{PATIENT_TOLERANCE} is; the former files stay: export it in "
        + " or ".join(other for other in able if other != precision)
    )


def export_in_float32(
    model_dir: Path, cases: Iterable[CaseFiles], *, on_case: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Writes the files that serve, in float32, how masks are made chosen before; till then the former stay.

    Args:
        model_dir: Folder of a finished training.
        cases: Cases, those of all the training's patients among them.
        on_case: Called with (finished, of) after each validation case.

    Returns:
        The settings to choose from, see `choose_postprocessing`.
    """
    model_dir = Path(model_dir)
    with drafts_in(model_dir) as drafts:
        whole = Path(drafts) / "fp32"
        export_onnx(model_dir, output=whole)
        shutil.copyfile(model_dir / "split.json", whole / "split.json")
        choices = choose_postprocessing(whole, cases, on_case=on_case)
        _keep(whole, model_dir, Exported("fp32", 0.0))
    return choices


def reduce_precision(source: Path, target: Path, precision: Precision, *, cases: Iterable[CaseFiles]) -> Path:
    """Writes an exported float32 model in another precision.

    Args:
        source: Folder of the exported model.
        target: Folder to write `model.onnx`, `model.json` and, for int8, `model.int8.onnx` into.
        precision: `int8` rounds the weights, in a file of its own; the others only say how the float32 file
            is computed.
        cases: Cases of the training's own patients, by whom int8 scales its integers.

    Returns:
        `target`.
    """
    source, target = Path(source), Path(target)
    description = {**read_json(source / "model.json"), "precision": precision}
    with replacing(target / "model.onnx") as partial:
        shutil.copyfile(source / "model.onnx", partial)
    if precision == "int8":
        slices = calibration_slices(cases, Preprocessing(**description["preprocessing"]))
        onnx = target / ONNX_FILES["int8"]
        quantise(source / "model.onnx", onnx, slices)
        description["quantised"] = {
            "sha256": file_sha256(onnx),
            "patients": "training",
            "slices": len(slices),
        }
    write_json(target / "model.json", description)
    return target


def write_variants(model_dir: Path, folder: Path, cases: Iterable[CaseFiles]) -> dict[str, Path]:
    """Writes the forms of a network with deep supervision, to be measured by `measure_variants`.

    Args:
        model_dir: Folder of its finished training.
        folder: Folder for the forms, each a folder by its name.
        cases: Cases of the training's patients.

    Returns:
        {name: folder}: `fp32`, all heads averaged; the same in the other precisions that this CPU multiplies
        natively; and the heads one by one, `L1` first, each with as much of the graph as it needs.
    """
    cases, folder = training_cases(model_dir, cases), Path(folder)
    variants = {"fp32": export_onnx(model_dir, output=folder / "fp32").parent}
    for precision in native_precisions()[::-1][1:]:
        target = folder / precision
        variants[precision] = reduce_precision(variants["fp32"], target, precision, cases=cases)
    for head in range(1, RunFolder(model_dir).trained_config().network.poolings + 1):
        name = f"L{head}"
        variants[name] = export_onnx(model_dir, prune=head, output=folder / name).parent
    return variants


def has_heads(model_dir: Path) -> bool:
    """Returns whether a folder holds a finished training with deep supervision."""
    manifest = Path(model_dir) / "manifest.json"
    return manifest.is_file() and bool(read_json(manifest)["config"].get("deep_supervision"))


def training_cases(model_dir: Path, cases: Iterable[CaseFiles]) -> list[CaseFiles]:
    """Returns the cases of the patients that a training learned from."""
    learned_from = set(read_split(Path(model_dir) / "split.json").train)
    return [case for case in cases if case.patient_id in learned_from]


def _keep(draft: Path, model_dir: Path, exported: Exported) -> Exported:
    networks = {name: path for name in ONNX_FILES.values() if (path := draft / name).is_file()}
    install(networks, read_json(draft / "model.json"), model_dir)
    return exported
