"""Scans of a data set that lack a sequence: they are left out, or another stands in; either is said."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from metseg.base.errors import MetsegError
from metseg.data.volume import NEVER_MISSING, SEQUENCES, stand_in

if TYPE_CHECKING:
    from metseg.data.cases import CaseFiles

_NAMED = 12  # scans in a sentence


def keep_usable(
    cases: Iterable["CaseFiles"],
    *,
    allow_missing: bool = False,
    never_missing: Collection[str] = (NEVER_MISSING,),
) -> tuple[list["CaseFiles"], list[str]]:
    """Returns the cases that a network can see, and sentences on those that lack a sequence.

    Args:
        cases: All of a data set.
        allow_missing: Keep a case that lacks a sequence, for another stands in (see `read_nifti_scan`); else
            it is left out.
        never_missing: Those of flair and t1c that a case needs all the same, by how networks were trained.

    Raises:
        MetsegError: Each lacks a sequence, and none is kept.
    """
    cases, needed = list(cases), {*never_missing}
    helped = [case for case in cases if allow_missing and case.missing and not needed & {*case.missing}]
    left = [case for case in cases if case.missing and case not in helped]
    source = "flair" if "flair" in needed else "flair, or else t1c,"
    if any(not needed & {*case.missing} for case in left):
        remedy = f"allow_missing lets {source} stand in"
    elif needed == {"flair"} and any(stand_in(SEQUENCES.keys() - {*case.missing}) for case in left):
        remedy = "t1c can stand in with never_missing=t1c alone"
    else:
        remedy = "nothing can stand in for it"
    if len(left) == len(cases):
        text = f"each of the {len(cases)} scans lacks a sequence: {_lacking(left)}; add them, or say in"
        raise MetsegError(f"{text} layout.yml how files are named (see data/README.md); {remedy}")
    notes = []
    if helped:
        share = f"in {len(helped)} of {len(cases)} scans"
        notes.append(f"{source} stands in for a sequence that is missing {share}: {_lacking(helped)}")
    if left:
        share = f"{len(left)} of {len(cases)} scans"
        notes.append(f"{share} left out, for a sequence is missing: {_lacking(left)}; {remedy}")
    kept = (replace(case, allow_missing=True) if case in helped else case for case in cases)
    return [case for case in kept if case.allow_missing or not case.missing], notes


def _lacking(cases: Sequence["CaseFiles"]) -> str:
    """Returns who lacks what: "BraTS-MET-00002-000 (t1), …"."""
    told = [f"{case.case_id} ({', '.join(case.missing)})" for case in cases[:_NAMED]]
    return ", ".join(told) + (f" and {len(cases) - _NAMED} more" if len(cases) > _NAMED else "")
