"""The one exception that users are meant to read."""


class MetsegError(Exception):
    """An error a user can mend: its text names the thing and the remedy."""


class MetsegWarning(UserWarning):
    """What a user should know, though the work goes on; one sentence."""
