"""Which of the kinds of answer that the service has a client likes best."""

from collections.abc import Sequence


def preferred(accept: str | None, offered: Sequence[str]) -> str | None:
    """Returns the media type that an `Accept` header ranks highest.

    Args:
        accept: The header; None where there is none, which accepts all.
        offered: Media types, the service's own favourite first.

    Returns:
        One of `offered`; of those ranked alike the one that is named most precisely. None if all are refused.

    Reference: RFC 9110, 12.5.1.
    """
    ranges = [_media_range(each) for each in (accept or "*/*").lower().split(",") if each.strip()]
    ranked = []
    for place, media_type in enumerate(offered):
        fitting = [(len(kind), q) for kind, q in ranges if _fits(kind, media_type)]
        if fitting:
            precision, q = max(fitting)  # the most precise range decides
            if q > 0:
                ranked.append((q, precision, -place, media_type))
    return max(ranked)[-1] if ranked else None


def _media_range(text: str) -> tuple[str, float]:
    """Returns the media range without `*`, and its weight, 0 where either is malformed."""
    kind, *parameters = (part.strip() for part in text.split(";"))
    weight = next((value for name, _, value in (p.partition("=") for p in parameters) if name == "q"), "1")
    try:
        q = float(weight)
    except ValueError:
        q = 0.0
    return ("" if kind == "*/*" else kind.removesuffix("*")), q if "/" in kind and 0 <= q <= 1 else 0.0


def _fits(kind: str, media_type: str) -> bool:
    return kind in ("", media_type) or (kind.endswith("/") and media_type.startswith(kind))
