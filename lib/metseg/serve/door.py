"""Requests that a visitor's own browser was made to send, and how they are known.

A page of another site may send requests to this one, and one under a name of its making (DNS rebinding) may
even read the answers. Where no token is asked for, nothing else keeps it out.
"""

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from metseg.base.errors import MetsegError


@dataclass(frozen=True)
class Door:
    """By which names this is called, and which other sites' pages may ask it.

    Attributes:
        names: Hosts that it answers to, beside plain addresses and `localhost`; "*": any.
        origins: Of pages of other sites, such as `https://viewer.example`.
    """

    names: frozenset[str] = field(default_factory=frozenset)
    origins: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, names: Iterable[str] = (), origins: Iterable[str] = (), *, guarded: bool = False) -> "Door":
        """Adds this machine's own names.

        Raises:
            MetsegError: An origin is none, or any name is allowed where no token guards it.
        """
        if "*" in (names := {*names}) and not guarded:
            raise MetsegError(
                "--allowed-host '*' lets any page in that has no token; name hosts, or give --token"
            )
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
                raise MetsegError(f"{origin!r:.80} is no origin; write it like https://viewer.example")
        own = {socket.gethostname(), socket.getfqdn()}
        return cls(frozenset(map(str.lower, own | names)), frozenset(origins))

    def knows(self, host: str) -> bool:
        """Returns whether a Host header names this. A plain address is nobody's to rebind."""
        name = ""
        with suppress(ValueError):
            name = (urlsplit(f"//{host}").hostname or "") if host.isascii() and "@" not in host else ""
            return bool(ipaddress.ip_address(name))
        return name == "localhost" or not self.names.isdisjoint({"*", name.rstrip(".")})

    def is_foreign(self, headers: Mapping[str, str]) -> bool:
        """Returns whether the page of another site sent a request, by what the browser says of it.

        A page that is opened by a link is none: the other site does not see it.
        """
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if origin in self.origins:
            return False
        if site is not None:
            how = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
            opened = how == ("navigate", "document") and origin is None
            return site not in ("same-origin", "none") and not opened
        return origin is not None and origin.partition("://")[2] != headers.get("host", "")
