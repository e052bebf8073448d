"""How a user's own volumes, or DICOM series, are called, by `layout.yml` in the data set's folder."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from metseg.base.errors import MetsegError
from metseg.data.layouts.volumes import POSITIVE, REFERENCE, Layout, Place
from metseg.data.patients import Identity, identify

OWN = "layout.yml"


class _OwnLayout(BaseModel):
    """What `layout.yml` holds.

    Attributes:
        sequences: {sequence: pattern}, each a path below the data set's folder with `{patient}`, `{visit}`
            or `{case}` for names, `*` for any part of a name and `**/` for any folders. Of DICOM a series'
            description, or its folder, with `*` alone, for headers tell whose it is.
        reference: The reference's pattern.
        labels: {region: its numbers}, the first one to be segmented unless told; all numbers if left out. Of
            DICOM also what segments or ROIs are called.
    """

    model_config = ConfigDict(extra="forbid")

    sequences: dict[Literal["t1", "t1c", "t2", "flair"], str] = {}
    reference: str | None = None
    labels: dict[str, Annotated[list[PositiveInt | str], Field(min_length=1)]] = {}


class DicomLayout(NamedTuple):
    """What `layout.yml` says of DICOM; patterns match a description, or with `/` a place below the folder."""

    sequences: Mapping[str, re.Pattern] = {}
    reference: re.Pattern | None = None
    labels: Mapping[str, list[int | str]] = {}


def read_dicom_layout(path: Path) -> DicomLayout:
    """Reads `layout.yml` of a folder of DICOM; raises a `MetsegError` as `read_layout` does."""
    own = _read(path)
    patterns = {**own.sequences, **({REFERENCE: own.reference} if own.reference else {})}
    for pattern in patterns.values():
        if found := re.search(r"\{.*\}", pattern):
            raise MetsegError(f"{path}: DICOM headers tell whose it is; leave {found[0]} out of {pattern}")
    sides = {"**/": "(?:.*/)?", "*": ".*"}
    found = {
        kind: re.compile(
            "".join(sides.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*)", pattern)),
            re.IGNORECASE,
        )
        for kind, pattern in patterns.items()
    }
    reference = found.pop(REFERENCE, None)
    return DicomLayout(found, reference, own.labels)


def read_layout(path: Path) -> Callable[[str], Place | None]:
    """Reads `layout.yml`; returns what does for it what `volumes.place_of` does for public sets.

    Raises:
        MetsegError: The file is wrong, naming what; or, from what is returned, a path fits two patterns.
    """
    own = _read(path)
    if not own.sequences:
        raise MetsegError(f"{path}: sequences is wrong (it names none); see data/README.md")
    if words := [each for numbers in own.labels.values() for each in numbers if isinstance(each, str)]:
        raise MetsegError(f"{path}: labels of NIfTI are numbers, and {words[0]!r} is none; correct it")
    kinds = dict(own.sequences) | ({REFERENCE: own.reference} if own.reference else {})
    patterns = {kind: _expression(pattern, path) for kind, pattern in kinds.items()}
    regions = {name: frozenset(numbers) for name, numbers in own.labels.items()} or {"lesion": POSITIVE}
    layout = Layout(OWN, re.compile(""), {kind: kind for kind in kinds}, regions)

    def place_of(place: str) -> Place | None:
        fitting = {kind: found for kind, each in patterns.items() if (found := each.fullmatch(place))}
        if len(fitting) > 1:
            raise MetsegError(f"{path}: {place} fits {' and '.join(fitting)}; make the patterns differ")
        for kind, found in fitting.items():
            names = found.groupdict()
            patient, visit = names.get("patient"), names.get("visit")
            case_id = names.get("case") or "_".join(filter(None, (patient, visit)))
            who = Identity(patient, visit, OWN) if patient else identify(case_id)
            return Place(case_id, kind, layout, who)
        return None

    return place_of


def _read(path: Path) -> _OwnLayout:
    import yaml  # here, for few data sets need it

    try:
        return _OwnLayout.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise MetsegError(f"{path}: {where} is wrong ({first['msg']}); see data/README.md") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise MetsegError(f"{path} cannot be read as YAML ({error}); see data/README.md") from error


_PARTS = {"**/": "(?:.*/)?", "*": "[^/]*"} | {f"{{{name}}}": name for name in ("patient", "visit", "case")}


def _expression(pattern: str, path: Path) -> re.Pattern:
    """Returns a pattern of `layout.yml` as a regular expression."""
    expression, named = "", set()
    for part in re.split(r"(\*\*/|\*|\{\w*\})", pattern):
        if part.startswith("{"):
            name = _PARTS.get(part)
            if name is None:
                raise MetsegError(f"{path}: {part} in {pattern} is none of {{patient}}, {{visit}}, {{case}}")
            expression += f"(?P={name})" if name in named else f"(?P<{name}>[^/]+?)"
            named.add(name)
        else:
            expression += _PARTS.get(part) or re.escape(part)
    if not named & {"patient", "case"}:
        raise MetsegError(f"{path}: {pattern} says nowhere whose it is; put {{patient}} or {{case}} in it")
    return re.compile(expression)
