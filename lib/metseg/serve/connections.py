"""How many connections there may be: of one address, and in all."""

from collections import Counter
from contextlib import suppress

from metseg.serve.listening import is_local

OF_ONE_ADDRESS, _MOST = 64, 1000
HEADER_SECONDS = 10.0  # the longest that the head of a request may take
IDLE_SECONDS = 60.0  # between two requests
UNREAD_SECONDS = 60.0  # that an answer may wait for its reader
FOR_HEALTH = 16  # connections beyond all others
HEALTH_SECONDS = 1.0  # the longest that the head of one of those may take


class Connections:
    """Counts those that are open. This machine's own have no bound of their own: it may be a proxy."""

    def __init__(self, most: int, of_one: int = OF_ONE_ADDRESS):
        self._most, self._of_one, self._open = most, of_one, Counter[str]()

    def enter(self, address: str) -> bool:
        """Takes one more of an address, if there is room for it."""
        full = self._open.total() >= self._most
        if full or (self._open[address] >= self._of_one and not is_local(address)):
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


def room_for_connections() -> int:
    """Lets this process open as many files as it may, and returns half of that, `_MOST` at most.

    A server that has no descriptor left can neither answer nor read its models.
    """
    with suppress(ImportError):  # Windows has no such limit
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard != resource.RLIM_INFINITY:
            return min(_MOST, hard // 2)
    return _MOST
