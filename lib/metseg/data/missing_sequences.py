"""Scans of a data set that lack a sequence: they are left out, or FLAIR stands in; either is said."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from metseg.base.errors import MetsegError
from metseg.data.scan import STAND_IN

if TYPE_CHECKING:
    from metseg.data.cases import CaseFiles

_NAMED = 12  # scans in a sentence


def keep_usable(
    cases: Iterable["CaseFiles"], *, allow_missing: bool = False
) -> tuple[list["CaseFiles"], list[str]]:
    """Returns the cases that a network can see, and sentences on those that lack a sequence.

    Args:
        cases: All of a data set.
        allow_missing: Keep a case in which FLAIR can stand in, see `read_nifti_scan`; else it is left out.

    Raises:
        MetsegError: Each lacks a sequence, and none is kept.
    """
    cases = list(cases)
    helped = [case for case in cases if allow_missing and case.missing and STAND_IN not in case.missing]
    left = [case for case in cases if case.missing and case not in helped]
    replaceable = any(STAND_IN not in case.missing for case in left)
    remedy = f"allow_missing lets {STAND_IN} stand in" if replaceable else "nothing can stand in for it"
    if len(left) == len(cases):
        text = f"each of the {len(cases)} scans lacks a sequence: {_lacking(left)}; add them, or say in"
        raise MetsegError(f"{text} layout.yml how files are named (see data/README.md); {remedy}")
    notes = []
    if helped:
        share = f"in {len(helped)} of {len(cases)} scans"
        notes.append(f"{STAND_IN} stands in for a sequence that is missing {share}: {_lacking(helped)}")
    if left:
        share = f"{len(left)} of {len(cases)} scans"
        notes.append(f"{share} left out, for a sequence is missing: {_lacking(left)}; {remedy}")
    kept = (replace(case, allow_missing=True) if case in helped else case for case in cases)
    return [case for case in kept if case.allow_missing or not case.missing], notes


def _lacking(cases: Sequence["CaseFiles"]) -> str:
    """Returns who lacks what: "BraTS-MET-00002-000 (t1), …"."""
    told = [f"{case.case_id} ({', '.join(case.missing)})" for case in cases[:_NAMED]]
    return ", ".join(told) + (f" and {len(cases) - _NAMED} more" if len(cases) > _NAMED else "")
