"""Which parts of a SEG or an RTSTRUCT are a lesion: by a target, by `layout.yml`, or all of them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from metseg.base.errors import MetsegError
from metseg.data.layouts.own import OWN
from metseg.data.layouts.volumes import POSITIVE
from metseg.data.volume_files import VolumeFiles

if TYPE_CHECKING:
    from metseg.data.readers.dicom_masks import MaskHeader

_NO_PART = frozenset({-1})  # of a region that a reference has not
_LISTED = 4
# Words in what a part is called that is drawn beside lesions: organs at risk, margins, cavities.
_NO_LESION = {"skull", "body", "skin", "external", "eye", "eyes", "lens", "optic", "chiasm", "cochlea"}
_NO_LESION |= {"hippocampus", "pituitary", "brainstem", "ventricle", "ventricles", "cord", "spinal"}
_NO_LESION |= {"ptv", "ctv", "isodose", "cavity", "oar"}


class Meaning(NamedTuple):
    """Which parts of a reference make the regions, as of `VolumeFiles`; `refusal` if that is unclear."""

    target: dict[str, frozenset[int]]
    called: dict[str, tuple[str, ...]]
    refusal: str = ""


def meaning_of(target: str, labels: Mapping[str, list[int | str]], header: "MaskHeader | None") -> Meaning:
    """Tells which parts of a reference make the regions of a target."""
    parts = header.parts if header else {}
    unlikely = [n for n, text in parts.items() if n in header.unlikely or _is_no_lesion(text)]
    name = target.replace(" ", "") or next(iter(labels), "")
    if not name or (name == "lesion" and name not in labels):
        some = ", ".join(f"{number} {parts[number]!r}" for number in unlikely[:_LISTED])
        why = f"marks {some}, no lesion by name or type; say what is one: target=1,3, or as it is called"
        return Meaning({"lesion": POSITIVE}, {}, why if unlikely else "")
    if re.fullmatch(r"\d+(,\d+)*", name):
        return Meaning({"labels": frozenset(map(int, name.split(",")))}, {})
    regions, called = {}, {}
    for region in name.split("+"):
        own = next((each for known, each in labels.items() if _plain(known) == _plain(region)), [region])
        wanted = {_plain(str(each)) for each in own}
        numbers = frozenset(number for number, text in parts.items() if wanted & _names(number, text))
        regions[region], called[region] = numbers or _NO_PART, tuple(map(str, own))
    return Meaning(regions, called)


def _names(number: int, text: str) -> set[str]:
    """Returns by what a part may be told."""
    return {str(number), _plain(text), _plain(kind_of(text))}


def _is_no_lesion(text: str) -> bool:
    words = {word.lower() for word in re.findall(r"[^\W\d_]+", text)}
    return bool(words & _NO_LESION) or ("brain" in words and words <= {"brain", "whole", "mask", "tissue"})


def kind_of(text: str) -> str:
    """Returns what parts that are numbered have in common: `Lesion` of `Lesion 2`."""
    return re.sub(r"[\W_]*\d+$", "", text) or text


def _plain(text: str) -> str:
    return "".join(text.casefold().split())


def complain_of_target(cases: Sequence[VolumeFiles], masks: Sequence["MaskHeader"], target: str) -> None:
    """Raises a `MetsegError` for a part that is wanted and that no reference has: it may be misspelt."""
    known = {name for mask in masks for part in mask.parts.items() for name in _names(*part)}
    for wanted in [each for names in cases[0].called.values() for each in names if masks]:
        if _plain(wanted) not in known:
            parts = counted(kind_of(text) for mask in masks for text in mask.parts.values())
            where = f"target={target}" if target else OWN
            raise MetsegError(f"no reference has a part called {wanted}, but {parts}; correct {where}")


def counted(texts: Iterable[str]) -> str:
    """Returns the commonest texts with how often they are there."""
    counts = Counter(texts).most_common()
    some = [f"'{text}' ({times})" for text, times in counts[:_LISTED]]
    return ", ".join(some) + f" and {len(counts) - _LISTED} more" * (len(counts) > _LISTED) or "nothing"
