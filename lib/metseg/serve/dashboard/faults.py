"""What a log may say of a fault: its kind and where it was, never its text, which may quote an upload."""

import re
import traceback

# One after another: where a frame was, and a frame's source, which stands below it.
_FRAME = re.compile(r'  File ".*", line \d+, in .+')
_SOURCE = re.compile(r"    \S.*")
_REPORT = re.compile(r"the dashboard failed: \w+ at")
_RAISED = re.compile(r"(\w[\w.]*(?:Error|Exception|Warning|Interrupt)): .*")


def where(error: BaseException) -> str:
    """Returns an exception's type and the frames it came through."""
    return f"{type(error).__name__} at\n{''.join(traceback.format_tb(error.__traceback__))}".rstrip()


def without_text(output: str) -> str:
    """Returns what a kernel wrote without all that is neither the kind of a fault nor where it was."""
    kept, after_frame = [], False
    for line in output.splitlines():
        raised, is_frame = _RAISED.fullmatch(line), bool(_FRAME.fullmatch(line))
        if raised:
            kept.append(raised[1])
        elif is_frame or _REPORT.fullmatch(line) or (after_frame and _SOURCE.fullmatch(line)):
            kept.append(line)
        after_frame = is_frame
    return "\n".join(kept)
