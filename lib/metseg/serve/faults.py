"""What a log may say of a fault: its kind and where it was, never its text, which may quote an upload."""

import traceback


def where(error: BaseException) -> str:
    """Returns an exception's type and the frames it came through."""
    return f"{type(error).__name__} at\n{''.join(traceback.format_tb(error.__traceback__))}".rstrip()
