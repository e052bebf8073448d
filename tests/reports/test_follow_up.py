"""Lesions of visits drawn by hand."""

import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.data.volume import Volume
from metseg.reports.follow_up import Visit, follow_up

GRID = (6, 40, 60)


def visit(name: str, *boxes, affine=None, grid=GRID, spacing_mm=(1, 1, 1)) -> Visit:
    """A visit with lesions of (first row, first column, rows, columns) on slices 1 to 4."""
    mask = np.zeros(grid, bool)
    for row, column, rows, columns in boxes:
        mask[1:5, row : row + rows, column : column + columns] = True
    spacing_mm = None if affine is not None else spacing_mm
    volume = Volume(np.zeros((1, *grid), np.uint8), ("t1c",), affine, spacing_mm)
    return Visit.of_mask(name, volume, mask)


def kinds(found) -> dict[str, tuple]:
    return {change.kind: (change.former, change.now) for change in found.changes}


def test_same_new_and_gone():
    before = visit("a", (2, 2, 10, 10), (30, 30, 4, 4))
    after = visit("b", (2, 3, 10, 12), (20, 50, 6, 6))
    found = follow_up([before, after])
    assert kinds(found) == {"same": ((1,), (1,)), "new": ((), (2,)), "gone": ((2,), ())}
    same = found.changes[0]
    assert (same.former_mm3, same.now_mm3) == (400, 480)
    assert same.volume_growth_percent == pytest.approx(20)
    assert same.growth_mm == pytest.approx(same.now_mm - same.former_mm)
    assert found.changes[1].growth_percent is None
    assert found.targets == (1,)
    assert found.response.category == "PD"  # by the new one


def test_merged_and_split():
    apart = visit("a", (2, 2, 10, 10), (2, 20, 10, 12))
    joined = visit("b", (2, 2, 10, 30))
    merged = follow_up([apart, joined])
    assert kinds(merged) == {"merged": ((1, 2), (1,))}
    assert merged.response.sums_mm[-1] == pytest.approx(joined.lesions[0].longest.mm)  # counted once
    assert any("merged" in note for note in merged.notes)
    split = follow_up([joined, apart])
    assert kinds(split) == {"split": ((1,), (1, 2))}
    assert split.response.sums_mm[-1] == pytest.approx(sum(each.longest.mm for each in apart.lesions))


def test_returned():
    box = (2, 2, 10, 10)
    found = follow_up([visit("a", box), visit("b"), visit("c", box)])
    assert kinds(found) == {"returned": ((), (1,))}
    assert found.response.category == "PD"
    assert found.response.sums_mm == pytest.approx((13.45, 0, 13.45), abs=0.01)


def test_new_at_an_earlier_visit_stays_new():
    box, other = (2, 2, 10, 10), (20, 40, 6, 6)
    found = follow_up([visit("a", box), visit("b", box, other), visit("c", box, other)])
    assert {change.kind for change in found.changes} == {"same"}
    assert found.response.category == "PD"


def test_grids_that_differ_are_matched_by_their_affines():
    """The same lesion, mirrored, moved and on slices of another distance."""
    first = visit("a", (10, 10, 12, 12), affine=np.eye(4))
    flipped = np.diag([-0.5, 0.5, 1, 1.0])
    flipped[:3, 3] = 30, 0, 0
    second = visit("b", (20, 18, 24, 24), affine=flipped, grid=(6, 80, 100))  # x = 30 - 18/2 … 30 - 42/2
    found = follow_up([first, second])
    assert kinds(found) == {"same": ((1,), (1,))}
    assert found.changes[0].volume_growth_percent == pytest.approx(0)
    assert follow_up([second, first]).changes[0].kind == "same"
    assert any(
        "a: 1 × 1 × 1 mm; b: 0.5 × 0.5 × 1 mm" in note for note in found.notes
    )  # one finer than the other
    assert not any("voxels" in note for note in follow_up([first, first]).notes)


def slab(name: str, *boxes, first=0, rows=GRID[1]) -> Visit:
    """A visit of which only `rows` rows from `first` on were imaged; boxes are by the whole head's rows."""
    affine = np.eye(4)
    affine[1, 3] = first
    whole = visit(name, *boxes).numbers > 0
    volume = Volume(np.zeros((1, GRID[0], rows, GRID[2]), np.uint8), ("t1c",), affine)
    return Visit.of_mask(name, volume, whole[:, first : first + rows])


UPPER, LOWER = (2, 2, 10, 10), (28, 30, 10, 8)


def test_what_a_scan_does_not_show_is_neither_gone_nor_new():
    whole, part = slab("whole", UPPER, LOWER), slab("part", UPPER, rows=20)
    lost = follow_up([whole, part])
    assert kinds(lost) == {"same": ((1,), (1,)), "not imaged now": ((2,), ())}
    assert lost.changes[1].now_mm is None and lost.changes[1].growth_mm is None
    assert lost.response.category == "NE" and "lesion 2 of whole" in lost.response.reasons[0]
    found = follow_up([part, whole])
    assert kinds(found) == {"same": ((1,), (1,)), "not imaged before": ((), (2,))}
    assert found.response.category == "SD" and "lesion 2 of whole" in found.response.reasons[-1]
    assert found.changes[1].former_mm is None


def test_no_complete_response_where_a_lesion_may_be_old():
    found = follow_up([slab("part", UPPER, rows=20), slab("whole", LOWER)])
    assert set(kinds(found)) == {"gone", "not imaged before"} and found.response.category == "PR"


@pytest.mark.parametrize("cut", [0, 1])
def test_a_lesion_at_the_edge_of_a_scan_has_no_growth(cut):
    """20 rows of it, of which one of the scans shows 10."""
    box = (10, 2, 20, 10)
    found = follow_up([slab(name, box, rows=20 if k == cut else 40) for k, name in enumerate("ab")])
    (change,) = found.changes
    assert change.kind == "same" and change.growth_mm is None and found.response.category == "NE"
    assert (change.former_mm, change.now_mm)[cut] is None and (change.former_mm, change.now_mm)[1 - cut] > 20


TINY = (30, 50, 3, 3)  # no target


def test_progression_of_what_is_shown_stays():
    found = follow_up([slab("a", (2, 2, 6, 12), TINY), slab("b", (2, 2, 6, 24), rows=28)])
    assert found.response.category == "PD" and found.response.sums_mm == pytest.approx((13, 24.52), abs=0.01)
    steady = follow_up([slab("a", (2, 2, 6, 12), TINY), slab("b", (2, 2, 6, 12), rows=28)])
    assert steady.response.category == "SD" and "lesion 2" in steady.response.reasons[-1]
    gone = follow_up([slab("a", (2, 2, 6, 12), TINY), slab("b", rows=28)])
    assert gone.response.category == "PR"  # not complete, for one was not looked at


def test_a_visit_that_lacks_no_target_is_a_nadir():
    boxes = [(2, 2, 6, width) for width in (25, 8, 16)]
    visits = [slab("a", boxes[0], TINY), slab("b", boxes[1], rows=28), slab("c", boxes[2], TINY)]
    found = follow_up(visits)
    assert found.response.category == "PD" and len(found.response.sums_mm) == 3


def test_what_was_never_shown_at_baseline_is_not_new_later_either():
    whole, part = slab("whole", UPPER, LOWER), slab("part", UPPER, rows=20)
    found = follow_up([part, whole, part, whole])
    assert kinds(found)["not imaged before"] == ((), (2,)) and found.response.category == "SD"


def test_what_merged_with_a_new_lesion_is_new():
    first, new, unclear = (2, 40, 6, 12), (10, 2, 8, 6), (22, 2, 12, 6)
    visits = [slab("a", first, rows=20), slab("b", first, new, unclear), slab("c", first, (10, 2, 24, 6))]
    assert follow_up(visits[:2]).response.category == follow_up(visits).response.category == "PD"


def test_gone_and_then_not_shown():
    found = follow_up([slab("a", UPPER, LOWER), slab("b", UPPER), slab("c", UPPER, rows=20)])
    assert found.response.category == "NE" and "lesion 2 of a" in found.response.reasons[0]


def test_a_new_lesion_is_progression_whatever_is_not_shown():
    found = follow_up([slab("whole", LOWER), slab("part", UPPER, rows=20)])
    assert set(kinds(found)) == {"new", "not imaged now"} and found.response.category == "PD"


def test_a_scan_in_between_that_shows_less():
    whole, part = slab("a", UPPER, LOWER), slab("b", UPPER, rows=20)
    still = follow_up([whole, part, slab("c", UPPER, LOWER)])
    assert {change.kind for change in still.changes} == {"same", "not imaged before"}
    assert still.response.category == "SD" and len(still.response.sums_mm) == 2  # b is no nadir
    gone = follow_up([whole, part, slab("c", UPPER)])
    assert gone.response.category == "PR" and not any(
        "cannot be told" in each for each in gone.response.reasons
    )
    late = follow_up([part, whole, slab("c", UPPER, LOWER)])
    assert late.response.category == "SD"  # the lesion that b showed first may be as old as the other


def test_scans_without_a_common_place():
    far = np.eye(4)
    far[2, 3] = 300
    image = np.zeros((1, *GRID), np.uint8)
    image[0, 1:5, 5:35, 5:55] = 200
    visits = []
    for name, affine in (("a", np.eye(4)), ("b", far)):
        mask = np.zeros(GRID, bool)
        mask[1:5, 10:20, 10:20] = True
        visits.append(Visit.of_mask(name, Volume(image, ("t1c",), affine), mask))
    found = follow_up(visits)
    assert set(kinds(found)) == {"not imaged now", "not imaged before"} and found.response.category == "NE"
    assert any("0 %" in note for note in found.notes)


def test_neighbours_without_overlap():
    near = follow_up([visit("a", (2, 2, 3, 3)), visit("b", (2, 5, 3, 3))])
    assert kinds(near) == {"same": ((1,), (1,))}
    assert any("0.0 mm" in note for note in near.notes)  # they touch
    beside = follow_up([visit("a", (2, 2, 3, 3)), visit("b", (2, 7, 3, 3))])
    assert kinds(beside) == {"same": ((1,), (1,))} and any("2.0 mm" in note for note in beside.notes)
    far = follow_up([visit("a", (2, 2, 3, 3)), visit("b", (2, 8, 3, 3))])
    assert set(kinds(far)) == {"new", "gone"}


def test_neighbours_on_thick_slices():
    """A lesion of two slices of 5 mm, which the next visit's slices cut one lesion's height lower."""
    visits = [visit(name, spacing_mm=(5, 1, 1)) for name in "ab"]
    for each, slices in zip(visits, (slice(1, 3), slice(3, 5)), strict=True):
        each.numbers[slices, 10:14, 10:14] = 1
    again = [Visit.of_mask(each.name, each.volume, each.numbers > 0) for each in visits]
    assert kinds(follow_up(again)) == {"same": ((1,), (1,))}


def test_an_unknown_voxel_size():
    box = (2, 2, 10, 10)
    found = follow_up([visit("a", box, spacing_mm=None), visit("b", box, spacing_mm=None)])
    assert kinds(found) == {"same": ((1,), (1,))}
    assert found.response.category == "NE" and found.changes[0].growth_mm is None


def test_nothing_in_common():
    with pytest.raises(MetsegError, match="a and b"):
        follow_up([visit("a", affine=np.eye(4)), visit("b", grid=(5, 40, 60))])


def test_coordinates_at_one_visit_alone():
    """They turn a volume as the display wants it, the other stays as it is stored: left may be right."""
    with pytest.raises(MetsegError, match="a and b"):
        follow_up([visit("a", affine=np.diag([-1.0, -1, 1, 1])), visit("b")])


def test_registration_needs_coordinates():
    with pytest.raises(MetsegError, match="a and b"):
        follow_up([visit("a"), visit("b")], register=True)


def test_no_lesions_at_all():
    found = follow_up([visit("a"), visit("b")])
    assert found.changes == () and found.response.category == "NE"
