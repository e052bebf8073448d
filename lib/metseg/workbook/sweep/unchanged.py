"""What of a sweep.yml may change once its sweep was begun: there may be more of it, nothing else."""

import json
from collections.abc import Mapping
from typing import Any

from metseg.base.errors import MetsegError
from metseg.workbook.sweep.plan import Plan


def record_of(plan: Plan) -> dict[str, Any]:
    """Returns what the ledger keeps of a sweep, as JSON has it."""
    return json.loads(json.dumps({**plan.spec.model_dump(), "base": plan.base}))


def complain_if_changed(before: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Compares two records of one sweep.

    Raises:
        MetsegError: In a sentence, the first thing that differs but may not.
    """
    rule = (
        f"; {where} was begun otherwise, and may only get more: values, seeds, networks or trials. "
        "Change it back, or give the sweep another name"
    )
    if _varied(before) != _varied(now) or bool(before["search"]) != bool(now["search"]):
        raise MetsegError(f"other parameters are varied than {', '.join(_varied(before)) or 'none'}{rule}")
    for model in before["base"].keys() & now["base"].keys():
        old, new = before["base"][model], now["base"][model]
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                raise MetsegError(f"{name} was {old.get(name)!r}, not {new.get(name)!r}{rule}")
    lists = {name: (before[name], now[name]) for name in ("models", "seeds")}
    lists |= {f"grid.{name}": (values, now["grid"][name]) for name, values in before["grid"].items()}
    for name, (old, new) in lists.items():
        if gone := [each for each in old if each not in new]:
            raise MetsegError(f"{name} has lost {gone[0]!r}{rule}")
    if before["search"]:
        for name, old in before["search"].items():
            if name != "trials" and old != now["search"][name]:
                raise MetsegError(f"search.{name} was {json.dumps(old)}{rule}")
        if before["seeds"][0] != now["seeds"][0]:
            raise MetsegError(f"seeds began with {before['seeds'][0]}{rule}")


def _varied(record: Mapping[str, Any]) -> list[str]:
    return [*record["grid"], *(record["search"]["parameters"] if record["search"] else ())]
