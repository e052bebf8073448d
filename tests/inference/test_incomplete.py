"""Which scans a network takes that lack a sequence, and what is said of it."""

import pytest

from metseg.base.errors import MetsegError
from metseg.inference.incomplete import missing_key, notes_on_missing

OLD = {"name": "unet"}
MEASURED = {"scans": 3, "complete": 0.81, "without": {"t1": 0.81, "flair": 0.78, "t1+flair": 0.7}}
NEW = {"name": "unet", "never_missing": "t1c", "incomplete_dice": MEASURED}


def test_what_it_never_learned_to_do_without_is_refused():
    with pytest.raises(MetsegError, match="P1 has no t1c, and unet .*choose another network"):
        notes_on_missing(NEW, ("t1c",), "P1")
    with pytest.raises(MetsegError, match="P1 has no flair"):
        notes_on_missing(OLD, ("t1", "flair"), "P1")
    assert notes_on_missing(OLD, ("t1", "t1c"), "P1") == []


def test_what_it_costs_is_said():
    (note,) = notes_on_missing(NEW, ("flair",), "P1")
    assert "3 validation scans" in note and "flair" in note and "-0.03 (0.81 to 0.78)" in note
    (note,) = notes_on_missing(NEW, ("t1", "flair"), "P1")
    assert "t1 and flair" in note and "-0.11" in note
    (note,) = notes_on_missing(NEW, ("t1",), "P1")
    assert "+0.00" in note


def test_nothing_is_said_that_was_not_measured():
    assert notes_on_missing(NEW, (), "P1") == []
    assert notes_on_missing({**OLD, "never_missing": "t1c"}, ("t1",), "P1") == []
    some = {**NEW, "incomplete_dice": {**MEASURED, "without": {"t1": 0.81}}}
    assert notes_on_missing(some, ("flair",), "P1") == []


def test_the_key_has_one_order():
    assert missing_key(("flair", "t1")) == missing_key(("t1", "flair")) == "t1+flair"
    with pytest.raises(ValueError, match="T1"):
        missing_key(["T1"])
