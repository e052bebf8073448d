"""Tokens: which are asked for, whose they are, and that nobody guesses on."""

import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from metseg.base.errors import MetsegError
from metseg.serve import tokens
from metseg.serve.tokens import Guesses, Keys, read_keys, token_for

LONG, OTHER = "sixteen letters!", "and another sixteen"


def test_which_token_is_asked_for():
    assert token_for("127.0.0.1", None) == token_for("::1", "") == ""
    assert token_for("127.0.0.1", LONG) == token_for("0.0.0.0", LONG) == LONG
    made = {token_for("0.0.0.0", None) for _ in range(3)}
    assert len(made) == 3 and min(map(len, made)) >= 32
    assert token_for("0.0.0.0", None, others=True) == ""


@pytest.mark.parametrize(
    "token", ["secret", "fifteen letters", " sixteen letters!", "sixteen letters!\n", "é" * 16]
)
def test_a_token_that_could_be_guessed_or_not_be_sent(token):
    with pytest.raises(MetsegError, match="the token needs 16"):
        token_for("127.0.0.1", token)


def test_nobody_reaches_a_host_without_token():
    with pytest.raises(MetsegError, match="must not be empty"):
        token_for("0.0.0.0", "")


def written(folder: Path, text: str) -> Path:
    path = folder / "keys.yml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n",
        "just a text",
        "a: [1\n",
        f"a b: {LONG}\n",
        "ward: short\n",
        f"ward: {LONG}\ncourse: {LONG}\n",
        "a: " + 5000 * "[",
        f"a: !!timestamp {LONG}\n",
        f"a: !!bool {LONG}\n",
    ],
)
def test_files_that_hold_no_tokens(tmp_path, text):
    with pytest.raises(MetsegError, match=r"keys\.yml"):
        read_keys(written(tmp_path, text))
    with pytest.raises(MetsegError, match=r"other\.yml"):
        read_keys(tmp_path / "other.yml")


@pytest.mark.parametrize("token", [LONG, "4f9c" * 12])
def test_a_line_the_wrong_way_round_is_not_quoted(tmp_path, token):
    with pytest.raises(MetsegError, match="entry 2") as caught:
        read_keys(written(tmp_path, f"ward: {OTHER}\n{token}: course\n"))
    assert token not in str(caught.value)


def test_whose_token_it_is_follows_the_file(tmp_path, told):
    path = written(tmp_path, f"ward: {LONG}\ncourse: {OTHER}\n")
    keys = Keys({"token": "the one of the command"}, path)
    assert [keys.holder(each) for each in (LONG, OTHER, "the one of the command", "", LONG[:-1])] == [
        *("ward", "course", "token", None, None)
    ]
    path.write_text(f"ward: {LONG}\n")  # the course is over
    assert keys.holder(OTHER) is None and keys.holder(LONG) == "ward"
    path.write_text("ward\n")
    assert keys.holder(LONG) is None and keys.holder("the one of the command") == "token"
    assert "keys.yml" in told.text and LONG not in told.text
    os.replace(written(tmp_path / "..", f"ward: {LONG}\n"), path)
    assert keys.holder(LONG) == "ward"
    path.unlink()
    assert keys.holder(LONG) is None


def test_who_may_read_the_file_counts(tmp_path, monkeypatch, told):
    """As where its owner changes: what it holds and its time stay."""
    path = written(tmp_path, f"ward: {LONG}\n")
    keys, stat = Keys({}, path), path.stat()
    monkeypatch.setattr(tokens, "read_keys", Mock(side_effect=MetsegError("cannot read it")))
    path.chmod(0o000)
    assert path.stat().st_mtime_ns == stat.st_mtime_ns and keys.holder(LONG) is None
    monkeypatch.undo()
    path.chmod(0o600)
    assert keys.holder(LONG) == "ward"


def test_guesses_end_for_a_minute(monkeypatch, told):
    now, guesses = [0.0], Guesses()
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now[0])
    for _ in range(9):
        guesses.wrong("10.0.0.9")
    assert not guesses.is_waiting("10.0.0.9")
    guesses.wrong("10.0.0.9")
    assert guesses.is_waiting("10.0.0.9") and not guesses.is_waiting("10.0.0.8")
    now[0] = 61.0
    assert not guesses.is_waiting("10.0.0.9")
    assert told.text.count("10.0.0.9") == 10


def test_many_addresses_take_no_more_memory(monkeypatch):
    monkeypatch.setattr(tokens, "_MOST_ADDRESSES", 3)
    guesses = Guesses()
    for address in "abcdef":
        for _ in range(10):
            guesses.wrong(address)
    assert [guesses.is_waiting(each) for each in "abcdef"] == [False] * 3 + [True] * 3
