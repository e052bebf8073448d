"""The imaging part of RANO-BM: which lesions are measurable, which are targets, and how they respond.

Reference:
    Lin et al. 2015, Lancet Oncology 16:e270-e278, doi:10.1016/S1470-2045(15)70057-4; merged and split lesions
    by RECIST 1.1, Eisenhauer et al. 2009, European Journal of Cancer 45:228-247.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from metseg.masks.measure import MeasuredLesion

REFERENCE = "RANO-BM, Lin et al. 2015, Lancet Oncol 16:e270–e278"
IMAGING_PART = "Imaging part only: steroids and clinical state are yours."
MAX_TARGETS = 5
LEAST_LONGEST_MM, LEAST_PERPENDICULAR_MM, LEAST_SLICES, MOST_SLICE_MM = 10, 5, 2, 5
_DECREASE, _INCREASE, _INCREASE_MM = 0.30, 0.20, 5
_ROUNDING = 1e-9  # 7.0 mm of 10.0 is a decrease by 30 %, however it was computed


@dataclass(frozen=True)
class Response:
    """How a visit compares with those before.

    Attributes:
        category: CR, PR, SD, PD; "non-CR/non-PD" without a target; NE where nothing can be compared.
        reasons: Why, as sentences.
        sums_mm: Sum of the targets' longest diameters at each visit, the baseline first.
        baseline_mm, nadir_mm: That of the baseline, and the smallest before this visit; None without target.
    """

    category: str
    reasons: tuple[str, ...]
    sums_mm: tuple[float, ...] = ()
    baseline_mm: float | None = None
    nadir_mm: float | None = None


def why_not_measurable(lesion: MeasuredLesion, slice_mm: float | None) -> list[str]:
    """Returns what RANO-BM misses in a lesion, a few words each; nothing if it is measurable.

    Args:
        lesion: What is measured.
        slice_mm: Distance of the slices; None where unknown, so that nothing is measurable.
    """
    if slice_mm is None or lesion.longest.mm is None or lesion.perpendicular.mm is None:
        return ["voxel size unknown"]
    misses = {
        f"longest diameter below {LEAST_LONGEST_MM} mm": lesion.longest.mm < LEAST_LONGEST_MM - _ROUNDING,
        f"perpendicular below {LEAST_PERPENDICULAR_MM} mm": (
            lesion.perpendicular.mm < LEAST_PERPENDICULAR_MM - _ROUNDING
        ),
        "on one slice only": lesion.slice_count < LEAST_SLICES,
        f"slices more than {MOST_SLICE_MM} mm apart": slice_mm > MOST_SLICE_MM + _ROUNDING,
    }
    return [text for text, missed in misses.items() if missed]


def choose_targets(lesions: Sequence[MeasuredLesion], slice_mm: float | None) -> tuple[int, ...]:
    """Returns the numbers of the target lesions: up to five measurable ones, the longest first."""
    measurable = [each for each in lesions if not why_not_measurable(each, slice_mm)]
    longest = sorted(measurable, key=lambda each: -each.longest.mm)
    return tuple(each.number for each in longest[:MAX_TARGETS])


def assess_response(
    targets_mm: Sequence[Sequence[float]],
    non_targets_mm: Sequence[Sequence[float]],
    new_slices: Sequence[int] = (),
) -> Response:
    """Says how the last visit compares with those before, by imaging alone.

    "Unequivocal progression" of a non-target is a reader's judgement: growth of one is told, not decided.

    Args:
        targets_mm: (visits, targets) longest diameters of the baseline's targets, mm; the baseline first, the
            visit in question last, 0 where a lesion is gone.
        non_targets_mm: (visits, non-targets) the same of the baseline's other lesions.
        new_slices: Of each lesion at the last visit that the baseline lacks: the slices that show it.
    """
    sums = tuple(float(sum(row)) for row in targets_mm)
    new = sum(slices >= LEAST_SLICES for slices in new_slices)
    doubtful = len(new_slices) - new
    others = [before for before, now in zip(*_first_and_last(non_targets_mm), strict=True) if now > 0]
    gone = sums[-1] == 0 and not others
    reasons: list[str] = []
    if targets_mm[0]:
        category = _of_targets(targets_mm, sums, reasons)
    elif non_targets_mm[0]:
        reasons.append("No lesion was measurable at baseline, so that there is no target.")
        category = "CR" if gone else "non-CR/non-PD"
    else:
        reasons.append("There was no lesion at baseline.")
        category = "NE"
    if non_targets_mm[0]:
        kept = f"{len(others)} of {len(non_targets_mm[0])} other lesions of the baseline"
        reasons.append(f"{kept} {'is' if len(others) == 1 else 'are'} still seen apart from targets.")
    if category == "CR" and not gone:
        reasons.append("Other lesions persist, so that the response is partial.")
        category = "PR"
    reasons += _growth_of_others(non_targets_mm)
    if doubtful:
        which = "lesion is" if doubtful == 1 else "lesions are"
        reasons.append(
            f"{doubtful} new {which} seen on one slice only: equivocal, to be clarified by the next scan; "
            "not counted as progression here, but no complete response either."
        )
        if category == "CR":
            category = "PR" if targets_mm[0] else "non-CR/non-PD"
    were_gone = [
        not any((*of_targets, *of_others))
        for of_targets, of_others in zip(targets_mm, non_targets_mm, strict=True)
    ]
    if any(were_gone[1:-1]) and not were_gone[0] and not were_gone[-1]:
        reasons.insert(
            0,
            "All lesions of the baseline were gone at an earlier visit and not all are now: after a complete "
            "response that is progression, whatever the size (RECIST 1.1), if a reader confirms both.",
        )
        category = "PD"
    if new:
        which = "lesion" if new == 1 else "lesions"
        reasons.insert(
            0,
            f"{new} new {which} since baseline, which is progression if a reader confirms it (under "
            "immunotherapy a new lesion alone is not).",
        )
        category = "PD"
    if category in ("CR", "PR"):
        reasons.append("A response counts if a scan at least 4 weeks later confirms it.")
    baseline, nadir = (sums[0], min(sums[:-1])) if targets_mm[0] else (None, None)
    return Response(category, tuple(reasons), sums, baseline, nadir)


def _first_and_last(rows: Sequence[Sequence[float]]) -> tuple[Sequence[float], Sequence[float]]:
    return rows[0], rows[-1]


def _of_targets(targets_mm: Sequence[Sequence[float]], sums: Sequence[float], reasons: list[str]) -> str:
    baseline, now = sums[0], sums[-1]
    lowest = min(range(len(sums) - 1), key=lambda k: sums[k])
    nadir = sums[lowest]
    if now == 0:
        reasons.append("All target lesions are gone.")
        return "CR"
    change = f"{_percent(now, baseline)} against the baseline ({baseline:.1f} mm)"
    if nadir and lowest:
        change += f", {_percent(now, nadir)} against the nadir ({nadir:.1f} mm)"
    reasons.append(f"The sum of the targets' longest diameters is {now:.1f} mm: {change}.")
    grown = max(b - a for a, b in zip(targets_mm[lowest], targets_mm[-1], strict=True))
    if now >= (1 + _INCREASE) * nadir - _ROUNDING and now > nadir:
        if grown >= _INCREASE_MM - _ROUNDING:
            reasons.append(f"It grew by 20 % or more from the nadir, and one target by {grown:.1f} mm.")
            return "PD"
        reasons.append("It grew by 20 % or more from the nadir, but no target by 5 mm: no progression.")
    if now <= (1 - _DECREASE) * baseline + _ROUNDING:
        reasons.append("That is a decrease by 30 % or more from the baseline.")
        return "PR"
    reasons.append("That is neither enough decrease for a partial response nor progression.")
    return "SD"


def _growth_of_others(non_targets_mm: Sequence[Sequence[float]]) -> list[str]:
    """Returns a sentence if other lesions grew as much as a target must to progress."""
    grown = 0
    for of_one in zip(*non_targets_mm, strict=True):
        least, now = min(of_one[:-1]), of_one[-1]
        grown += now >= (1 + _INCREASE) * least - _ROUNDING and now - least >= _INCREASE_MM - _ROUNDING
    if not grown:
        return []
    which = "another lesion" if grown == 1 else f"{grown} other lesions"
    return [
        f"The longest diameter of {which} grew by 20 % and 5 mm or more: a reader has to judge whether "
        "this is unequivocal progression, which would make it PD."
    ]


def _percent(now: float, before: float) -> str:
    return f"{100 * (now / before - 1):+.0f} %".replace("-", "\N{MINUS SIGN}")
