"""What the commands print arrives, whatever the terminal can show and whatever a file is called."""

import codecs
import sys

_PLAIN = {"×": "x", "→": "->", "–": "-", "−": "-", "…": "...", "·": "|"}


def _plainer(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    shown = [_PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in text]
    return "".join(shown), error.end


def print_in_any_encoding() -> None:
    """Has stdout and stderr print what their encoding lacks in plainer words, instead of failing."""
    codecs.register_error("metseg.plainer", _plainer)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a program puts one of its own
            stream.reconfigure(errors="metseg.plainer")
