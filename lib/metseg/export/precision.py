"""The files that serve: in float32, bfloat16 or int8, whole or cut to one head, once found to be as good."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from metseg.base.errors import MetsegError
from metseg.base.files import file_sha256, read_json, shown, sole_writer, write_json
from metseg.base.hardware import multiplies
from metseg.data.cases import CaseFiles
from metseg.export.mask_settings import set_masks
from metseg.export.onnx import check_agreement, export_onnx
from metseg.export.quantise import calibration_slices, quantise
from metseg.export.validation_dice import (
    DICE_TOLERANCE,
    PATIENT_TOLERANCE,
    DiceChange,
    dice_both_ways,
    dice_change,
    validation_cases,
    volume_dice,
)
from metseg.inference.description import ONNX_FILES, install
from metseg.inference.engines import PRECISIONS, Precision
from metseg.inference.predictor import Predictor
from metseg.preprocessing.pipeline import Preprocessing
from metseg.training.run_folder import RunFolder

_FASTEST_FIRST: tuple[Precision, ...] = ("int8", "bf16", "fp32")
_COMPARED = 20  # slices on which the float32 graph is held against the trained network
_DRAFTS = ".export-"


class Exported(NamedTuple):
    """What an export was found to be.

    Attributes:
        precision: What it serves in.
        largest_difference: From the trained network, of a pixel's probability, in float32.
        change: Of the validation patients' volume Dice, against float32.
        change_of_head: Of its mean, for the head that was kept, in float32, against the heads' average; None
            where nothing was pruned.
    """

    precision: Precision
    largest_difference: float
    change: DiceChange = DiceChange()
    change_of_head: float | None = None


def precision_of(text: str | None) -> Precision | None:
    """Returns a precision by its name; None stays None, and another name is a `MetsegError`."""
    if text is not None and text not in PRECISIONS:
        raise MetsegError(f"unknown precision {text!r}; valid are {', '.join(PRECISIONS)}")
    return text


def head_of(text: str | None) -> int | None:
    """Returns k of `Lk`, as U-Net++ names a network that ends with the head on X(0,k); None stays None."""
    if text is not None and not re.fullmatch(r"[Ll][1-9]", text):
        raise MetsegError(f"unknown head {text!r}; valid are L1, L2 and so on, L4 with five levels")
    return None if text is None else int(text[1])


def native_precisions() -> tuple[Precision, ...]:
    """Returns what this CPU multiplies natively, the fastest first; a network can be checked in no other."""
    return tuple(each for each in _FASTEST_FIRST if each == "fp32" or multiplies(each))


def export(
    run: RunFolder | Path,
    cases: Iterable[CaseFiles],
    *,
    precision: Precision | None = "fp32",
    prune: int | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> Exported:
    """Writes the files that serve, once they were found to be as good; till then the former ones stay.

    They are `model.onnx` in float32, `model.int8.onnx` beside it if it serves in int8, and `model.json`.
    The float32 graph must give the trained network's probabilities, and by it is settled how masks are made
    of them. Another precision must hardly change the validation patients' volume Dice (`DiceChange`). What a
    pruned head changes is measured and told, never refused.

    Args:
        run: Folder of a finished training, or its path.
        cases: Cases, those of all the training's patients among them.
        precision: What it shall serve in; None takes the fastest that passes.
        prune: Head to keep, as for `export_onnx`.
        on_case: Called with (finished, of) after each validation case, anew for the masks and each Dice.

    Raises:
        MetsegError: A comparison failed, the CPU cannot make it, there is no such head, or another process
            writes to the folder.
    """
    run, cases = RunFolder(run), list(cases)
    able = native_precisions()
    if precision is not None and precision not in able:
        raise MetsegError(
            f"this CPU does not multiply {precision} natively, so that it can be neither checked nor faster; "
            f"export in {' or '.join(able)}"
        )
    with _drafts_in(run.path) as drafts:
        whole = RunFolder(drafts / "fp32")
        network = export_onnx(run, whole.path, prune=prune)
        difference = check_agreement(network, whole.path, cases, slices=_COMPARED)
        shutil.copyfile(run.split, whole.split)
        files, change_of_head = validation_cases(whole, cases), None
        if prune is not None:
            export_onnx(run, drafts / "averaged")
            all_heads, head = (volume_dice(Predictor(drafts / each), files) for each in ("averaged", "fp32"))
            change_of_head = head.mean - all_heads.mean
        set_masks(whole, cases, on_case=on_case)
        before = None
        for each in able if precision is None else (precision,):
            draft, change = whole.path, DiceChange()
            if each != "fp32":
                before = before or dice_both_ways(Predictor(whole.path), files, on_case)
                draft = reduce_precision(whole.path, drafts / each, each, cases=training_cases(run, cases))
                after = dice_both_ways(Predictor(draft), files, on_case)
                change = dice_change(before, after)
                names = ("validation_dice", "validation_dice_single_slices")
                known = {name: dice.mean for name, dice in zip(names, after, strict=True)}
                write_json(draft / "model.json", {**read_json(draft / "model.json"), **known})
            if each == "fp32" or change.negligible:
                networks = {name: path for name in ONNX_FILES.values() if (path := draft / name).is_file()}
                install(networks, read_json(draft / "model.json"), run.path)
                return Exported(each, difference, change, change_of_head)
    raise MetsegError(
        f"{precision} changes the mean Dice of {run}'s validation patients by {change.mean:+.5f}, slice by "
        f"slice by {change.mean_single_slices:+.5f}, where {DICE_TOLERANCE} is allowed, and one patient's by "
        f"{change.largest:+.5f}, where {PATIENT_TOLERANCE} is; the former files stay: export it in "
        f"{' or '.join(other for other in able if other != precision)}"
    )


def reduce_precision(source: Path, target: Path, precision: Precision, *, cases: Iterable[CaseFiles]) -> Path:
    """Writes an exported float32 network in another precision into a folder, and returns that.

    `int8` rounds the weights, in a file of its own, its integers scaled by the training's own patients, whose
    cases are needed; the others only say how the float32 file is computed.
    """
    target.mkdir(parents=True, exist_ok=True)
    description = {**read_json(source / "model.json"), "precision": precision}
    shutil.copyfile(source / "model.onnx", target / "model.onnx")
    if precision == "int8":
        slices = calibration_slices(cases, Preprocessing(**description["preprocessing"]))
        onnx = target / ONNX_FILES["int8"]
        quantise(source / "model.onnx", onnx, slices)
        known = {"sha256": file_sha256(onnx), "patients": "training", "slices": len(slices)}
        description["quantised"] = known
    write_json(target / "model.json", description)
    return target


def write_variants(run: RunFolder, folder: Path, cases: Iterable[CaseFiles]) -> dict[str, Path]:
    """Writes the forms of a network with deep supervision, to be measured by `measure_variants`.

    Args:
        run: Folder of its finished training.
        folder: Folder for the forms, each a folder by its name.
        cases: Cases of the training's patients.

    Returns:
        {name: folder}: `fp32`, all heads averaged; the same in the other precisions that this CPU multiplies
        natively; and the heads one by one, `L1` first, each with as much of the graph as it needs.
    """
    cases, folder = training_cases(run, cases), Path(folder)
    export_onnx(run, folder / "fp32")
    names = ["fp32"]
    for precision in native_precisions()[::-1][1:]:
        reduce_precision(folder / "fp32", folder / precision, precision, cases=cases)
        names.append(precision)
    for head in range(1, run.trained_config().network.poolings + 1):
        export_onnx(run, folder / f"L{head}", prune=head)
        names.append(f"L{head}")
    return {name: folder / name for name in names}


def training_cases(run: RunFolder, cases: Iterable[CaseFiles]) -> list[CaseFiles]:
    """Returns the cases of the patients that a training learned from."""
    learned_from = set(run.read_split().train)
    return [case for case in cases if case.patient_id in learned_from]


@contextmanager
def _drafts_in(folder: Path) -> Iterator[Path]:
    """Yields an empty folder below one that nobody else writes to; what a killed export left there goes."""
    with sole_writer(folder):
        for leftover in folder.glob(f"{_DRAFTS}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            drafts = TemporaryDirectory(prefix=_DRAFTS, dir=folder)
        except OSError as error:
            reason = error.strerror or error
            raise MetsegError(f"cannot write to {shown(folder)} ({reason}); make it writable") from error
        with drafts as path:
            yield Path(path)
