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
    VolumeDice,
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
    of them. Another precision may change the validation patients' volume Dice hardly (`DiceChange`), for whole
    volumes and for every slice by itself. What a pruned head changes is measured and told, never refused.

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
        done = Exported("fp32", check_agreement(network, whole.path, cases, slices=_COMPARED))
        shutil.copyfile(run.split, whole.split)
        files = validation_cases(whole, cases)

        def dice_of(folder: Path) -> list[VolumeDice]:
            """Of whole volumes, and of slices by themselves."""
            of = {"predictor": Predictor(folder), "cases": files, "on_case": on_case}
            return [volume_dice(**of, single_slices=alone) for alone in (False, True)]

        if prune is not None:
            export_onnx(run, drafts / "averaged")
            all_heads, head = (volume_dice(Predictor(drafts / each), files) for each in ("averaged", "fp32"))
            done = done._replace(dice_change_of_head=head.mean - all_heads.mean)
        set_masks(whole, cases, on_case=on_case)
        before = list[VolumeDice]()
        for each in able if precision is None else (precision,):
            if each == "fp32":
                return _keep(whole, run, done)
            before = before or dice_of(whole.path)
            draft = reduce_precision(whole.path, drafts / each, each, cases=training_cases(run, cases))
            after = dice_of(draft)
            change, alone = (dice_change(*pair) for pair in zip(before, after, strict=True))
            if change.negligible and alone.negligible:
                means = dict(zip(("validation_dice", "validation_dice_single_slices"), after, strict=True))
                path = RunFolder(draft).description
                write_json(path, {**read_json(path), **{name: dice.mean for name, dice in means.items()}})
                done = done._replace(precision=each, dice_change=change, dice_change_single_slices=alone)
                return _keep(RunFolder(draft), run, done)
    raise MetsegError(
        f"{precision} changes the mean Dice of {run}'s validation patients by {change.mean:+.5f}, slice by "
        f"slice by {alone.mean:+.5f}, where {DICE_TOLERANCE} is allowed, and one patient's by "
        f"{change.largest:+.5f} and {alone.largest:+.5f}, where {PATIENT_TOLERANCE} is; the former files "
        f"stay: export it in {' or '.join(other for other in able if other != precision)}"
    )


def reduce_precision(source: Path, target: Path, precision: Precision, *, cases: Iterable[CaseFiles]) -> Path:
    """Writes an exported float32 network in another precision.

    Args:
        source: Folder of the exported network.
        target: Folder to write `model.onnx`, `model.json` and, for int8, `model.int8.onnx` into.
        precision: `int8` rounds the weights, in a file of its own; the others only say how the float32 file
            is computed.
        cases: Cases of the training's own patients, by whom int8 scales its integers.

    Returns:
        `target`.
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


def _keep(draft: RunFolder, run: RunFolder, exported: Exported) -> Exported:
    networks = {name: path for name in ONNX_FILES.values() if (path := draft.path / name).is_file()}
    install(networks, read_json(draft.description), run.path)
    return exported
