"""Tokens that open the service or the dashboard, and who holds them."""

import hmac
import logging
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import yaml

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.serve.listening import is_local

SHORTEST_TOKEN = 16
_NAME = re.compile(r"[\w.@-]{1,40}")
_TOKEN = re.compile(rf"(?! )[ -~]{{{SHORTEST_TOKEN},200}}(?<! )")
_GUESSES, _GUESSING_SECONDS, _MOST_ADDRESSES = 10, 60.0, 10_000
_log = logging.getLogger("metseg.serve")


def token_for(host: str, token: str | None, *, others: bool = False) -> str:
    """Returns the token to ask for: the given one, else one that is made up unless the host is local.

    Args:
        host: What is listened on.
        token: What the user says.
        others: Whether there are other tokens, so that none need be made up.

    Raises:
        MetsegError: It could be guessed, or is empty where others can reach the host.
    """
    if token:
        return checked_token(token, "the token")
    if others or is_local(host):
        return ""
    if token == "":
        raise MetsegError(
            f"others can reach host {host}, so the token must not be empty; leave it out to have one made"
        )
    return secrets.token_urlsafe(24)


def checked_token(token: str, what: str) -> str:
    """Returns a token that is long enough; raises a `MetsegError` that calls it `what` where it is not."""
    if not _TOKEN.fullmatch(token):
        raise MetsegError(
            f"{what} needs {SHORTEST_TOKEN} to 200 letters, digits or signs, so that nobody guesses it; "
            "write a longer one, or leave it out to have one made"
        )
    return token


def read_keys(path: Path) -> dict[str, str]:
    """Reads a file of tokens, a line `name: token` each; raises a `MetsegError` where it is none."""
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise MetsegError(f"cannot read {shown(path)} ({error.strerror}); name another file") from None
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise MetsegError(
            f"{shown(path)} is no list of tokens; write a line 'name: token' for each"
        ) from None
    if not isinstance(found, dict) or not found:
        raise MetsegError(f"{shown(path)} holds no tokens; write a line 'name: token' for each")
    keys = {str(name): str(token) for name, token in found.items()}
    for number, (name, token) in enumerate(keys.items(), start=1):
        # Not by its name: of a line that is the wrong way round that is the token.
        which = f"{shown(path)}: entry {number}"
        if not _NAME.fullmatch(name):
            raise MetsegError(f"{which} has no name that can be used; use letters, digits and . _ - @")
        checked_token(token, f"{which}: its token")
    if len({*keys.values()}) < len(keys):
        raise MetsegError(f"{shown(path)} gives two names one token; nobody could tell who used it")
    return keys


class Keys:
    """The tokens that open, each with its holder's name; those of a file follow it as it changes.

    Attributes:
        is_readable: Whether the file could be read when it last changed; else a token may be right after all.
    """

    def __init__(self, tokens: Mapping[str, str], file: Path | None = None):
        """Takes {name: token} and a file of more; raises a `MetsegError` where that cannot be read."""
        self._given, self._file, self._read = _hashed(tokens), file and Path(file), None
        self._of_file = _hashed(read_keys(self._file)) if self._file else {}
        self._read, self.is_readable = self._state(), True

    def holder(self, token: str) -> str | None:
        """Returns whose token it is, or None; how long it takes tells nothing of how much is right."""
        if self._file and (state := self._state()) != self._read:
            # Of a file that is not readable nobody is let in.
            self._read, self._of_file, self.is_readable = state, {}, False
            try:
                self._of_file = _hashed(read_keys(self._file))
                self.is_readable = True
            except MetsegError as error:
                _log.error("%s", error)
        found, hashed = None, sha256(token.encode()).digest()
        for name, known in (*self._given.items(), *self._of_file.items()):
            if hmac.compare_digest(hashed, known):
                found = name
        return found

    def _state(self) -> tuple[int, ...] | None:
        with suppress(OSError, AttributeError):
            stat = self._file.stat()
            mode, ino, _, _, *owners, size = stat[:7]
            return mode, ino, *owners, size, stat.st_mtime_ns, stat.st_ctime_ns
        return None


def _hashed(tokens: Mapping[str, str]) -> dict[str, bytes]:
    return {name: sha256(token.encode()).digest() for name, token in tokens.items()}


class Guesses:
    """Wrong tokens by address: after ten within a minute it has to wait."""

    def __init__(self):
        self._of: dict[str, list[float]] = {}

    def is_waiting(self, address: str) -> bool:
        return len(self._recent(address)) >= _GUESSES

    def wrong(self, address: str) -> None:
        if address not in self._of and len(self._of) >= _MOST_ADDRESSES:
            self._of.pop(next(iter(self._of)))  # the one that began first
        self._of[address] = [*self._recent(address), time.monotonic()][-_GUESSES:]
        _log.warning("a wrong token from %s", address)

    def _recent(self, address: str) -> list[float]:
        since = time.monotonic() - _GUESSING_SECONDS
        return [each for each in self._of.get(address, []) if each > since]
