"""Scans that lack a sequence: how their masks are made, and what it costs, by validation patients."""

from collections.abc import Callable, Iterable
from itertools import combinations

from metseg.base.files import read_json, write_json
from metseg.data.cases import CaseFiles
from metseg.data.volume import SEQUENCES
from metseg.export.operating_points import predicted_scans, settle
from metseg.export.validation_dice import few, validation_cases, volume_dice
from metseg.inference.incomplete import IncompleteDice, missing_key
from metseg.inference.predictor import Predictor
from metseg.training.run_folder import RunFolder

_MOST_SETTLED = 12  # scans by which thresholds are chosen, once for each set of sequences


def set_incomplete(
    run: RunFolder, cases: Iterable[CaseFiles], *, on_case: Callable[[int, int], None] | None = None
) -> None:
    """Measures the volume Dice of validation scans without sequences, and writes it to `model.json`.

    Each set of sequences is left out that a scan may lack by the network's `never_missing`; the same stands
    in as in reading (`stand_in`). A network with operating points has its thresholds chosen anew for each
    set, as by `settle`, for what stands in makes its probabilities others; so they are for the Dice with all
    sequences that it is held against. It is of a few scans that have all; nothing is written where none of
    them has a lesion.

    Args:
        run: Folder of an exported network, its masks settled, with the split of its training.
        cases: Cases, those of all its validation patients among them.
        on_case: Called with (finished, of) after each scan, anew for each set.

    Raises:
        MetsegError: A validation patient is not among the cases.
    """
    files = [case for case in validation_cases(run, cases) if not case.missing]
    if not files:
        return
    predictor = Predictor(run.path)
    settles = predictor.operating_points is not None
    files = few(files, _MOST_SETTLED) if settles else few(files)
    others = [each for each in SEQUENCES if each != run.never_missing]
    dice, settings = {}, {}
    for missing in (each for count in range(len(others) + 1) for each in combinations(others, count)):
        key = missing_key(missing)
        if settles:
            scans = predicted_scans(predictor, files, missing=missing, on_case=on_case)
            if not any(scan.is_lesion.any() for scan in scans):
                return
            found = settle(scans, predictor.postprocessing)
            dice[key], settings[key] = found.dice, found.settings.model_dump()
        else:
            found = volume_dice(predictor, files, missing=missing, on_case=on_case)
            if found.of_patient.empty:
                return
            dice[key] = found.mean
    found = IncompleteDice(scans=len(files), complete=dice.pop(""), without=dice)
    known = {"incomplete_dice": found.model_dump()}
    if settles:
        known["without_sequences"] = {key: each for key, each in settings.items() if key}
    write_json(run.description, {**read_json(run.description), **known})
