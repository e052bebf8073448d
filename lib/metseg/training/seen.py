"""Which scans a model has seen: by the patient's name, and by what the slices hold."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from metseg.base.errors import MetsegError
from metseg.base.files import read_json
from metseg.data.cases import CaseFiles
from metseg.data.content import HASH_DIGITS, scan_hashes
from metseg.data.patients import spelling_of

_READ_AT_ONCE = min(4, os.cpu_count() or 1)  # scans, for their pixels are in memory meanwhile
_SAME = 0.5  # of the slices, of whichever has fewer: a scan without its empty slices is the same scan


class SortedCases(NamedTuple):
    """Cases by what a model has seen of them."""

    unseen: list[CaseFiles]  # neither name nor content
    same_scan: list[tuple[CaseFiles, str]]  # whatever it is called now, and the patient it was seen as
    same_name: list[CaseFiles]  # its patient, or one of that name, was seen with other scans
    name_alone: list[CaseFiles]  # its patient's name was seen; of what, the model is too old to tell
    knows_content: bool  # whether the model tells what the scans hold that it has seen

    def notes(self, *, include_same_name: bool = False) -> list[str]:
        """Returns a sentence for each kind of case that name and content do not agree on."""

        def names(cases: Iterable[CaseFiles]) -> str:
            return ", ".join(sorted({case.patient_id for case in cases}))

        renamed = [(case.case_id, name) for case, name in self.same_scan if case.patient_id != name]
        notes = []
        if renamed:
            pairs = ", ".join(f"{case_id} (seen as {name})" for case_id, name in renamed)
            notes.append(f"the model has seen these scans under another name, they are left out: {pairs}")
        if self.same_name:
            done = "scored all the same" if include_same_name else "left out; --include-same-name scores them"
            notes.append(
                "the model has seen other scans of patients of these names, a former scan of the same person "
                f"perhaps: {names(self.same_name)}; {done}"
            )
        if not self.knows_content:
            left_out = f"left out by name alone: {names(self.name_alone)}; " if self.name_alone else ""
            notes.append(
                f"{left_out}the model was exported before scans were known by their content, so that a seen "
                "scan under another name is not found"
            )
        return notes


class SeenSlices:
    """What a model has seen, by the hashes of its slices."""

    def __init__(self, slices: Mapping[str, str]):
        """Takes {patient: `joined_hashes` of the slices}."""
        self._hashes = {name: set(split_hashes(text)) for name, text in slices.items()}
        self._seen_as = defaultdict[str, list[str]](list)
        for name, hashes in self._hashes.items():
            for each in hashes:
                self._seen_as[each].append(name)

    def names_of(self, own: Iterable[str]) -> list[str]:
        """Returns as whom a scan of these slices was seen, the likeliest first; nobody if it was not."""
        own = {*own} - {""}
        shared = Counter(name for each in own for name in self._seen_as.get(each, ()))
        least = {name: _SAME * min(len(own), len(self._hashes[name])) for name in shared}
        return [name for name, n in shared.most_common() if n >= least[name]]


def sort_cases(cases: Iterable[CaseFiles], model_dir: Path) -> SortedCases:
    """Holds complete cases against what an exported model learned from or was chosen on.

    Raises:
        MetsegError: The model does not tell whom it has seen, or an image is wrong.
    """
    path = Path(model_dir) / "model.json"
    description = read_json(path)
    names, slices = description.get("seen"), description.get("seen_slices") or {}
    if names is None:
        raise MetsegError(f"{path} does not say which patients the model has seen; export it again")
    known, seen_names = SeenSlices(slices), {spelling_of(name) for name in names}
    found = SortedCases([], [], [], [], knows_content=bool(slices))
    cases = list(cases)
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        hashes = [*pool.map(scan_hashes, cases)] if slices else [set()] * len(cases)
    for case, own in zip(cases, hashes, strict=True):
        if alike := known.names_of(own):
            found.same_scan.append((case, case.patient_id if case.patient_id in alike else alike[0]))
        elif spelling_of(case.patient_id) not in seen_names:
            found.unseen.append(case)
        elif own - {""} and case.patient_id in slices:
            found.same_name.append(case)
        else:
            found.name_alone.append(case)
    # Other scans of a person of whom one scan was seen, whatever the person was called then.
    people = {case.patient_id for case, _ in found.same_scan}
    found.same_name.extend(case for case in found.unseen if case.patient_id in people)
    found.unseen[:] = [case for case in found.unseen if case.patient_id not in people]
    return found


def split_hashes(text: str) -> list[str]:
    """Takes apart what `joined_hashes` returned."""
    return [text[k : k + HASH_DIGITS] for k in range(0, len(text), HASH_DIGITS)]


def joined_hashes(hashes: Iterable[str]) -> str:
    """Returns the hashes of a patient's slices as one text, each once."""
    return "".join(sorted({*hashes} - {""}))
