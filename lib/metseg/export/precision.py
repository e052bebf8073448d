"""The files that serve: in float32, bfloat16 or int8, whole or cut to one head, once found to be as good."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, get_args

from metseg.base.errors import MetsegError
from metseg.base.files import file_sha256, read_json, sole_writer, write_json
from metseg.data.cases import CaseFiles
from metseg.export.incomplete import set_incomplete
from metseg.export.mask_settings import asked_of, set_masks
from metseg.export.onnx import check_agreement, export_onnx, spread_slices
from metseg.export.operating_points import measured, predicted_scans
from metseg.export.quantise import quantise
from metseg.export.scan_ranges import set_trust
from metseg.export.validation_dice import (
    DICE_TOLERANCE,
    PATIENT_TOLERANCE,
    DiceChange,
    dice_both_ways,
    dice_change,
    training_cases,
    validation_cases,
    volume_dice,
)
from metseg.inference.description import ONNX_FILES, install
from metseg.inference.engines import Precision, native
from metseg.inference.incomplete import missing_key
from metseg.inference.predictor import Predictor
from metseg.preprocessing.pipeline import Preprocessing, network_input
from metseg.training.run_folder import RunFolder

_COMPARED = 20  # slices on which the float32 graph is held against the trained network
_CALIBRATING = 40  # slices by which int8 is scaled


class LesionChange(NamedTuple):
    """What changes in the lesions of validation scans as they serve, from float32 to another precision."""

    found: int = 0  # of the class of size that loses most
    false_positives_per_scan: float = 0.0

    @property
    def negligible(self) -> bool:
        """Whether no lesion is lost and nothing more is invented: metastases hardly weigh in a Dice."""
        return self.found >= 0 and self.false_positives_per_scan <= 0


class Exported(NamedTuple):
    """What an export was found to be."""

    precision: Precision  # what it serves in
    largest_difference: float  # of a pixel's probability in float32, from the trained network's
    change: DiceChange  # against float32
    change_of_head: float | None  # of the mean volume Dice by a pruned head, against the heads' average


def native_precisions() -> list[Precision]:
    """Returns what this CPU multiplies natively, the fastest first; a network can be checked in no other."""
    return [each for each in get_args(Precision)[::-1] if native(each) == each]


def export(
    run: RunFolder | Path,
    cases: Iterable[CaseFiles],
    *,
    precision: Precision | None = "fp32",
    prune: int | None = None,
    is_to_serve: bool = True,
    on_case: Callable[[int, int], None] | None = None,
) -> Exported:
    """Writes the files that serve, once they were found to be as good; till then the former ones stay.

    They are `model.onnx` in float32, `model.int8.onnx` beside it if it serves in int8, and `model.json`.
    The float32 graph must give the trained network's probabilities, and by it is settled how masks are made.
    What the scans were like is kept for the trust gate, and what missing sequences cost a network that has
    learned to do without them, with the thresholds that suit such scans.
    Another precision must hardly change the validation patients' volume Dice (`DiceChange`), and of a network
    with operating points neither lose a lesion nor add a false positive (`LesionChange`); what it finds at
    each threshold is then its own. What a pruned head changes is measured and told, never refused.

    Args:
        run: Folder of a finished training.
        cases: Cases, those of all the training's patients among them.
        precision: What it shall serve in; None takes the fastest that passes.
        prune: Head to keep, as for `export_onnx`.
        is_to_serve: Else scans without a sequence, which only a network's users have, are not looked at; of
            volumes they take half the time.
        on_case: Called with (finished, of) after each validation case, anew for the masks and each Dice.

    Raises:
        MetsegError: A comparison failed, the CPU cannot make it, there is no such head, or another process
            writes to the folder.
    """
    run, cases = RunFolder(run), list(cases)
    able = native_precisions()
    if run.trained_config().network.rank == 3:
        able = [each for each in able if each != "int8"]
        if precision == "int8":
            raise MetsegError(f"int8 is for networks of slices; export {run} in {' or '.join(able)}")
    if precision is not None and precision not in able:
        raise MetsegError(
            f"this CPU does not multiply {precision} natively, so that it can be neither checked nor faster; "
            f"export in {' or '.join(able)}"
        )
    with sole_writer(run.path), TemporaryDirectory(prefix="metseg-export-") as folder:
        drafts = Path(folder)
        whole = RunFolder(drafts / "fp32")
        network = export_onnx(run, whole.path, prune=prune)
        difference = check_agreement(network, whole.path, cases, slices=_COMPARED)
        shutil.copyfile(run.split, whole.split)
        files, change_of_head = validation_cases(run, cases), None
        if prune is not None:
            export_onnx(run, drafts / "averaged")
            all_heads, head = (volume_dice(Predictor(drafts / each), files) for each in ("averaged", "fp32"))
            change_of_head = head.mean - all_heads.mean
        may_lack = is_to_serve and run.trained_config().augmentation.modality_dropout > 0
        set_masks(whole, cases, on_case=on_case)
        set_trust(whole, cases)
        if may_lack:
            set_incomplete(whole, cases, on_case=on_case)
        before, lesions = None, LesionChange()
        for each in able if precision is None else [precision]:
            draft, change = whole.path, DiceChange()
            if each != "fp32":
                before = before or dice_both_ways(Predictor(whole.path), files, on_case)
                draft = reduce_precision(whole.path, drafts / each, each, cases=training_cases(run, cases))
                after = dice_both_ways(Predictor(draft), files, on_case)
                change = dice_change(before, after)
                names = ("validation_dice", "validation_dice_single_slices")
                known = {name: dice.mean for name, dice in zip(names, after, strict=True)}
                of_patients = {str(who): float(dice) for who, dice in after[0].of_patient.items()}
                known["validation_dice_of_patients"] = of_patients
                told = read_json(draft / "model.json")
                told |= {name: dice for name, dice in known.items() if name in told}
                write_json(draft / "model.json", told)
                lesions = _lesion_change(whole.path, draft, files, on_case)
                if (
                    change.negligible
                    and lesions.negligible
                    and may_lack
                    and Predictor(draft).operating_points
                ):
                    shutil.copyfile(run.split, RunFolder(draft).split)
                    set_incomplete(RunFolder(draft), cases, on_case=on_case)
            if each == "fp32" or (change.negligible and lesions.negligible):
                networks = {name: path for name in ONNX_FILES.values() if (path := draft / name).is_file()}
                install(networks, read_json(draft / "model.json"), run.path)
                return Exported(each, difference, change, change_of_head)
    raise MetsegError(
        f"{precision} changes the mean Dice of {run}'s validation patients by {change.mean:+.5f}, slice by "
        f"slice by {change.mean_single_slices:+.5f}, where {DICE_TOLERANCE} is allowed, and one patient's by "
        f"{change.largest:+.5f}, where {PATIENT_TOLERANCE} is; lesions that it finds by {lesions.found:+d}, "
        f"false positives a scan by {lesions.false_positives_per_scan:+.2f}; the former files stay: export "
        f"it in {' or '.join(other for other in able if other != precision)}"
    )


def _lesion_change(
    whole: Path, draft: Path, files: list[CaseFiles], on_case: Callable[[int, int], None] | None
) -> LesionChange:
    """Returns what another precision changes, and writes what it finds to its `model.json`."""
    asked = asked_of(files)
    before = Predictor(whole).doing_without(asked[0].missing)
    if before.operating_points is None:
        return LesionChange()
    own, description = before.postprocessing, read_json(draft / "model.json")
    found = measured(predicted_scans(Predictor(draft), asked, on_case=on_case), own)
    of_complete = {} if asked[0].missing else found.model_dump()
    of_others = {missing_key(each.missing): found.model_dump() for each in asked if each.missing}
    without = {"without_sequences": {**description.get("without_sequences", {}), **of_others}}
    write_json(draft / "model.json", {**description, **of_complete, **(without if of_others else {})})
    former, now = (
        each.at(own.lesion_threshold) for each in (before.operating_points, found.operating_points)
    )
    fewest = min(now.found[size] - former.found[size] for size in former.found)
    return LesionChange(fewest, now.false_positives_per_scan - former.false_positives_per_scan)


def reduce_precision(source: Path, target: Path, precision: Precision, *, cases: Iterable[CaseFiles]) -> Path:
    """Writes an exported float32 network in another precision into a folder, and returns that.

    `int8` has a file of its own, its integers scaled by slices of these cases, of patients learned from;
    `bf16` only says how the float32 file is computed.
    """
    target.mkdir(parents=True, exist_ok=True)
    description = {**read_json(source / "model.json"), "precision": precision}
    shutil.copyfile(source / "model.onnx", target / "model.onnx")
    if precision == "int8":
        onnx, config = target / ONNX_FILES["int8"], Preprocessing(**description["preprocessing"])
        spread = spread_slices(cases, _CALIBRATING)
        slices = [each for volume, places in spread for each in network_input(volume, config)[places]]
        quantise(source / "model.onnx", onnx, slices)
        known = {"sha256": file_sha256(onnx), "patients": "training", "slices": len(slices)}
        description["quantised"] = known
    write_json(target / "model.json", description)
    return target
