"""The exceptions that users are meant to read."""


class MetsegError(Exception):
    """An error a user can mend: its text names the thing and the remedy."""


class FolderInUse(MetsegError):
    """Another process writes to a folder."""


class MetsegWarning(UserWarning):
    """What a user should know, though the work goes on; one sentence."""
