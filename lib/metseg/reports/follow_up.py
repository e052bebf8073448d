"""Visits of one patient compared: what became of each lesion, how it grew, and the response."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from metseg.masks.measure import MeasuredLesion
from metseg.reports.matching import Matched, Visit, match_visits
from metseg.reports.rano_bm import LEAST_SLICES, Response, assess_response, choose_targets

_SAME_SIZE = 0.1  # voxels that differ by less measure alike


@dataclass(frozen=True)
class Change:
    """What became of a lesion, or of lesions that merged or split.

    Attributes:
        kind: same, new, gone, merged, split, "merged and split", or returned (gone in between); "not imaged
            now" and "not imaged before" of what the other scan does not show.
        former, now: Numbers of the lesions at the former visit and now.
        former_mm, now_mm: Longest diameters, added up, 0 of none; None where the voxels' size is unknown, or
            a lesion was not imaged, or not all of it.
        former_mm3, now_mm3: Volumes likewise.
    """

    kind: str
    former: tuple[int, ...]
    now: tuple[int, ...]
    former_mm: float | None
    now_mm: float | None
    former_mm3: float | None
    now_mm3: float | None

    @property
    def growth_mm(self) -> float | None:
        """By how much the longest diameter grew."""
        return None if None in (self.former_mm, self.now_mm) else self.now_mm - self.former_mm

    @property
    def growth_percent(self) -> float | None:
        """The same in percent; None for a new lesion."""
        return 100 * self.growth_mm / self.former_mm if self.former_mm and self.now_mm is not None else None

    @property
    def volume_growth_percent(self) -> float | None:
        """By how much the volume grew; None for a new lesion."""
        known = self.former_mm3 and self.now_mm3 is not None
        return 100 * (self.now_mm3 / self.former_mm3 - 1) if known else None


@dataclass(frozen=True)
class FollowUp:
    """Visits in order, compared.

    Attributes:
        names: Of the visits, the baseline first.
        changes: Since the last visit but one, the lesions of the last one first.
        targets: Numbers of the target lesions at baseline, the longest first.
        targets_now: Numbers of the lesions at the last visit that come from them.
        response: The imaging part of RANO-BM at the last visit.
        notes: What was assumed, as sentences.
    """

    names: tuple[str, ...]
    changes: tuple[Change, ...]
    targets: tuple[int, ...]
    targets_now: tuple[int, ...]
    response: Response
    notes: tuple[str, ...]


def follow_up(visits: Sequence[Visit], *, register: bool = False, margin_mm: float = 2.0) -> FollowUp:
    """Compares visits of one patient.

    Args:
        visits: In order, the baseline first.
        register: Align the visits by their pictures (rigid), not by their files' coordinates alone.
        margin_mm: Lesions that overlap none are the same where no more than this lies between them.

    Raises:
        MetsegError: Visits have neither coordinates nor one grid, or cannot be registered.
    """
    if len(visits) < 2:
        raise ValueError(f"{len(visits)} visit; give two or more")
    notes: list[str] = []
    last = len(visits) - 1
    descended = [np.eye(len(visits[0].lesions), dtype=bool)]  # (lesions at baseline, lesions at k)
    unseen = [np.zeros(len(visits[0].lesions), bool)]  # lesions at baseline whose place k does not show
    unclear = [np.zeros(len(visits[0].lesions), bool)]  # lesions at k that may have been there at baseline
    returned = np.zeros(len(visits[last].lesions), bool)
    for k, (former, now) in enumerate(pairwise(visits), 1):
        matched = match_visits(former, now, register, margin_mm, notes)
        lineage = descended[-1].astype(int) @ matched.same > 0
        unknown, never_shown = ~matched.same.any(axis=0), matched.unseen_before.copy()
        cut = (matched.same & matched.unseen_before).any(axis=1)  # the former scan ends within the lesion
        unseen[-1] |= descended[-1] @ cut
        hidden = np.zeros(len(lineage), bool)  # by the last visit that had the lesion
        there = descended[-1].any(axis=1)
        is_old, is_new = (each @ matched.same for each in (unclear[-1], ~unclear[-1]))
        old = is_old & ~is_new  # what merged with a new one is new
        for earlier in range(k - 1 if unknown.any() or not there.all() else 0):
            assumed: list[str] = []
            known = match_visits(visits[earlier], now, register, margin_mm, assumed)
            again, never_shown = known.same & unknown, never_shown & known.unseen_before
            notes += assumed if again.any() else []
            lineage |= descended[earlier].astype(int) @ again > 0
            old |= unclear[earlier] @ again
            hidden = np.where(descended[earlier].any(axis=1), descended[earlier] @ known.unseen_now, hidden)
            if k == last:
                returned |= again.any(axis=0)
        hidden = np.where(there, descended[-1] @ matched.unseen_now, hidden)
        unseen.append(hidden & (there | ~lineage.any(axis=1)))
        unclear.append(((unknown & never_shown) | old) & ~lineage.any(axis=0))
        descended.append(lineage)
    sizes = {visit.name: visit.volume.spacing_mm for visit in visits if visit.volume.spacing_mm}
    if sizes and not np.allclose(list(sizes.values()), next(iter(sizes.values())), rtol=_SAME_SIZE):
        listed = "; ".join(
            f"{name}: {' × '.join(f'{step:.3g}' for step in size[::-1])} mm" for name, size in sizes.items()
        )
        notes.append(
            f"The visits' voxels differ in size ({listed}): what changes by less may not have changed."
        )
    targets = choose_targets(visits[0].lesions, visits[0].slice_mm)
    response = _response(visits, descended, targets, unseen, unclear[-1])
    changes = _changes(visits[-2], visits[-1], matched, returned, unclear[-1])
    from_targets = descended[-1][np.array(targets, int) - 1].any(axis=0)
    for found in np.flatnonzero(from_targets & (descended[-1].sum(axis=0) > 1)):
        merged = ", ".join(map(str, np.flatnonzero(descended[-1][:, found]) + 1))
        notes.append(
            f"Lesion {found + 1} of {visits[-1].name} comes from lesions {merged} of {visits[0].name}, which "
            "merged: the targets' sum takes its longest diameter once, as RECIST 1.1 does."
        )
    return FollowUp(
        tuple(visit.name for visit in visits),
        changes,
        targets,
        tuple((np.flatnonzero(from_targets) + 1).tolist()),
        response,
        tuple(dict.fromkeys(notes)),
    )


def _changes(
    former: Visit, now: Visit, matched: Matched, returned: np.ndarray, unclear: np.ndarray
) -> tuple[Change, ...]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(former.lesions)
    rows, columns = np.nonzero(matched.same)
    nodes = count + len(now.lesions)
    graph = coo_array((np.ones(len(rows)), (rows, columns + count)), shape=(nodes, nodes))
    groups = connected_components(graph, directed=False)[1] if nodes else np.zeros(0, int)
    found = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        before = [former.lesions[k] for k in members[members < count]]
        after = [now.lesions[k - count] for k in members[members >= count]]
        kinds = {(0, 1): "new", (1, 0): "gone", (1, 1): "same"}
        many = "merged and split" if len(after) > 1 else "merged"
        kind = kinds.get((len(before), len(after)), "split" if len(before) == 1 else many)
        if kind == "new" and returned[after[0].number - 1]:
            kind = "not imaged before" if matched.unseen_before[after[0].number - 1] else "returned"
        elif kind == "new" and unclear[after[0].number - 1]:
            kind = "not imaged before"
        elif kind == "gone" and matched.unseen_now[before[0].number - 1]:
            kind = "not imaged now"
        sizes = [_total(each, size) for size in (_longest, _volume) for each in (before, after)]
        known = [
            not any(where[each.number - 1] for each in some)
            for some, where in ((after, matched.unseen_before), (before, matched.unseen_now))
        ]
        if before and after or kind.startswith("not imaged"):
            sizes = [size if of else None for size, of in zip(sizes, known * 2, strict=True)]
        found.append(Change(kind, *(tuple(each.number for each in s) for s in (before, after)), *sizes))
    return tuple(sorted(found, key=lambda change: (not change.now, change.now, change.former)))


def _longest(lesion: MeasuredLesion) -> float | None:
    return lesion.longest.mm


def _volume(lesion: MeasuredLesion) -> float | None:
    return lesion.volume_mm3


def _total(lesions: Sequence[MeasuredLesion], size) -> float | None:
    sizes = [size(each) for each in lesions]
    return None if None in sizes else float(sum(sizes))


def _response(
    visits: Sequence[Visit],
    descended: Sequence[np.ndarray],
    targets: Sequence[int],
    unseen: Sequence[np.ndarray],
    unclear: np.ndarray,
) -> Response:
    """Returns RANO-BM's category; a merged lesion counts once, the parts of a split one add up (RECIST).

    A target that the baseline or the last visit does not show wholly makes it NE, unless a lesion is new or
    those that are shown have progressed; another lesion allows no CR (RECIST 1.1, table 1). A visit in
    between that does not show a target is no nadir.
    """
    if any(visit.slice_mm is None for visit in visits):
        return Response("NE", ("The voxels' size is unknown, so that no diameter can be compared.",))
    first = visits[0].lesions
    others = [each.number for each in first if each.number not in targets]
    rows, last, of_targets = [], len(visits) - 1, np.array(targets, int) - 1
    for k, (visit, lineage) in enumerate(zip(visits, descended, strict=True)):
        between = 0 < k < last
        if between and unseen[k][of_targets].any():
            continue
        free = np.array([each.longest.mm for each in visit.lesions])
        row = []
        for number in (*targets, *others):
            seen = float(free[lineage[number - 1]].sum())
            row.append(rows[-1][len(row)] if between and unseen[k][number - 1] else seen)
            free[lineage[number - 1]] = 0
        rows.append(row)
    is_new = ~descended[-1].any(axis=0) & ~unclear
    new = [each.slice_count for each in visits[-1].lesions if is_new[each.number - 1]]
    split = len(targets)
    found = assess_response([row[:split] for row in rows], [row[split:] for row in rows], new)
    reasons = [
        f"{visits[k].name} does not show the whole place of {_numbered(unseen[k])} of {visits[0].name}. What "
        "happened there cannot be told."
        for k in (0, last)
        if unseen[k].any()
    ]
    if unclear.any():
        reasons.append(
            f"No earlier visit shows the place of {_numbered(unclear)} of {visits[-1].name}: not called new."
        )
    hidden, is_known = unseen[0] | unseen[last], not unseen[0][of_targets].any()
    progressed = any(slices >= LEAST_SLICES for slices in new) or (found.category == "PD" and is_known)
    if not progressed and (hidden[of_targets].any() or (reasons and not targets)):
        return Response("NE", tuple(reasons))
    category = "PR" if reasons and found.category == "CR" else found.category
    return replace(found, category=category, reasons=(*found.reasons, *reasons))


def _numbered(of_these: np.ndarray) -> str:
    numbers = (np.flatnonzero(of_these) + 1).tolist()
    return f"lesion{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
