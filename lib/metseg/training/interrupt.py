"""An interrupted training: one sentence that says how it goes on."""

from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or a kernel that was interrupted; a notebook shows its sentence and no traceback."""

    def _render_traceback_(self) -> list[str]:  # what IPython shows
        return [str(self)]


@contextmanager
def told_in_a_sentence(what: object) -> Iterator[None]:
    """Raises `Interrupted` in place of a `KeyboardInterrupt`; `what` was being done."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"{what} was interrupted; run it again, and it goes on after the last finished epoch"
        ) from None
