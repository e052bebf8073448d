"""The exceptions that users are meant to read."""


class MetsegError(Exception):
    """An error a user can mend: its text names the thing and the remedy."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the text alone. IPython asks an exception for it by this name."""
        return [str(self)]


class FolderInUse(MetsegError):
    """Another process writes to a folder."""


class OutOfMemory(MetsegError):
    """There is less memory than something takes."""


class MetsegWarning(UserWarning):
    """What a user should know, though the work goes on; one sentence."""


def interrupted(error: BaseException | None) -> bool:
    """Returns whether a `KeyboardInterrupt` lies behind an error.

    Libraries that are written with pybind11 make an `ImportError` of one that comes while they are loaded.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
