"""What it costs a network that a scan lacks a sequence: measured on validation patients, kept with it."""

from collections.abc import Callable, Iterable
from itertools import combinations

from metseg.base.files import read_json, write_json
from metseg.data.cases import CaseFiles
from metseg.data.volume import SEQUENCES
from metseg.export.validation_dice import few, validation_cases, volume_dice
from metseg.inference.incomplete import IncompleteDice
from metseg.inference.predictor import Predictor
from metseg.training.run_folder import RunFolder


def set_incomplete_dice(
    run: RunFolder, cases: Iterable[CaseFiles], *, on_case: Callable[[int, int], None] | None = None
) -> None:
    """Measures the volume Dice of validation scans without sequences, and writes it to `model.json`.

    Each set of sequences is left out that a scan may lack by the network's `never_missing`; the same stands
    in as in reading (`stand_in`). It is of a `few` scans that have all; nothing is written where none of them
    has a lesion.

    Args:
        run: Folder of an exported network, with the split of its training.
        cases: Cases, those of all its validation patients among them.
        on_case: Called with (finished, of) after each scan, anew for each set.

    Raises:
        MetsegError: A validation patient is not among the cases.
    """
    files = [case for case in validation_cases(run, cases) if not case.missing]
    if not files:
        return
    files = few(files)  # each is segmented once for each set of sequences
    predictor = Predictor(run.path)
    complete = volume_dice(predictor, files, on_case=on_case)
    if complete.of_patient.empty:
        return
    others = [each for each in SEQUENCES if each != run.never_missing]
    without = {}
    for missing in (each for count in range(1, len(others) + 1) for each in combinations(others, count)):
        dice = volume_dice(predictor, files, missing=missing, on_case=on_case).mean
        without[IncompleteDice.key(missing)] = dice
    found = IncompleteDice(scans=len(files), complete=complete.mean, without=without)
    write_json(run.description, {**read_json(run.description), "incomplete_dice": found.model_dump()})
