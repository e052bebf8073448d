"""Which labels of a reference are a lesion, by what a user asks for."""

import re

from metseg.base.errors import MetsegError
from metseg.data.layouts.volumes import Layout


def known_labels(layout: Layout) -> frozenset[int]:
    """Returns the labels that a layout knows; none where each number is a lesion."""
    return frozenset().union(*layout.regions.values())


def regions_of(target: str, layout: Layout) -> dict[str, frozenset[int]]:
    """Returns {region: its labels} of a target; raises a `MetsegError` if the layout has no such."""
    name = target.replace(" ", "") or next(iter(layout.regions))
    if re.fullmatch(r"\d+(,\d+)*", name):
        numbers, known = frozenset(map(int, name.split(","))), known_labels(layout)
        if 0 in numbers or (known and not numbers <= known):
            labels = f"labels {', '.join(map(str, sorted(known)))}" if known else "labels from 1 on"
            raise MetsegError(f"target={target} is not among the {labels} of {layout.name}; choose of them")
        return {"labels": numbers}
    names = name.split("+")
    if not layout.regions.keys() >= set(names):
        choice, hint = ", ".join(layout.regions), "numbers go as 1,3, several regions as TC+ET"
        raise MetsegError(f"target={target} is none of {layout.name}'s regions ({choice}); {hint}")
    if len(set(names)) < len(names):
        raise MetsegError(f"target={target} names a region twice; name each once, the main one first")
    return {each: layout.regions[each] for each in names}
