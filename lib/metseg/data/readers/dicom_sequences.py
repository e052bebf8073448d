"""Which sequence a DICOM series is, t1, t1c, t2 or flair, as far as its header tells, and by what."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

UNKNOWN = "unknown"
SEQUENCES = ("t1", "t1c", "t2", "flair")

# In texts of small letters, digits, `+` and `*`, with single spaces between.
_OTHERS = {
    "a localiser": r"\bloc\b|locali[sz]er|\bscout|\bsurvey|\bpilot\b|\b3 ?pl(ane)?\b",
    "diffusion": r"\bdwi|\bdti|\bdiff(usion)?\b|\badc\b|\btrace|\bep b ?\d|\bb ?\d{3,4}\b|resolve",
    "T2* or susceptibility": r"\bswi|\bswan\b|t2 ?\*|t2 ?star|\bh(a?)emo|\bqsm\b|\bvenobold",
    "angiography": r"\btof\b|\bmr[av]\b|angio|venogra",
    "perfusion or a dynamic": r"\bperf|\bdsc\b|\bdce\b|\basl\b|\br?cb[fv]\b|\bmtt\b|\btmax\b|\bdyn",
    "echo-planar imaging": r"\bep2d|\bepi\b",
    "functional imaging": r"\bbold\b|\bfmri\b|resting",
    "spectroscopy": r"\bspectro|\bmrs\b|\bcsi\b|\bsvs\b",
    "a calculated image": r"subtract|\bsub\b(?! ?\d)|\bminip\b|\bmip\b|\bmaps?\b|\bphase\b|\bfield ?map",
    "STIR": r"\bstir\b",
}
_OTHER_TYPES = {
    "LOCALIZER": "a localiser",
    "DIFFUSION": "diffusion",
    "ADC": "diffusion",
    "TRACEW": "diffusion",
    "PERFUSION": "perfusion or a dynamic",
    "TOF": "angiography",
    "MIP": "a calculated image",
    "PROJECTION IMAGE": "a calculated image",
    "SUBTRACTION": "a calculated image",
    "P": "a phase image",
    "PHASE": "a phase image",
    "PHASE MAP": "a phase image",
    "REAL": "a real or imaginary part",
    "IMAGINARY": "a real or imaginary part",
}
_WEIGHTINGS = {
    "t1": re.compile(r"\b[es]?t1|\bmp2? ?rage|\bbravo\b|\bf?spgr|\btfl ?3d|\bvibe\b|\bthrive\b"),
    "t2": re.compile(r"\b[es]?t2"),
    "flair": re.compile(r"flair|dark ?fl|\bspcir|\bt2f\b"),
    "pd": re.compile(r"\bpd|\bproton|\bdp\b"),
}
_AGENT = r"(contrast\w*|gd|gad\w*|km|ce|mdc|inj\w*)\b"
_NOT_TREATED = r"(?! ?(op|proc|rt|tx|treat|therap|surg|srs|rad|chemo|resec|biops|trauma))"
_BOTH = re.compile(r"\bw (and )?(wo|w o)\b|\bwith (and )?(wo|without)\b|\bpre (and )?post\b")
_NEGATED = re.compile(rf"\b(no|non|not|without|wo|w o|ohne|sin|sans|senza|pre) ?({_AGENT}|c\b)")
_PRE = re.compile(rf"\bpre\b{_NOT_TREATED}|\bnativ|\bplain\b|\bunenhanced\b")
_POST = re.compile(
    rf"\bpost\b{_NOT_TREATED}|\b{_AGENT}|\+ ?c\b|\bc ?\+|\b[es]?t1w? ?(c|ce|gd|km|post)\b{_NOT_TREATED}"
)
_NO_AGENT = re.compile(r"(no|none|non|n|without|ohne|kein\w*|nativ\w*|nil|0|false)( .*)?")
_CONTRAST = "AcquisitionContrast"  # PS3.3 C.8.13.3.1.1
_ENHANCED = {"T1": "t1", "T2": "t2", "FLUID_ATTENUATED": "flair"}
_TEXTS = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")  # the first that tells
_ECHO_MS = {"t1": (0, 50), "t2": (50, 1000), "flair": (50, 1000)}


def guess_sequence(header: Mapping[str, Any]) -> tuple[str, str]:
    """Tells a series' sequence by its description, contrast agent and times.

    Args:
        header: {keyword: value} of one of its frames.

    Returns:
        `t1`, `t1c`, `t2`, `flair` or `unknown`, and by what, to be shown to the user. What contradicts
        itself is unknown, and so is a T1 of which nothing tells whether contrast agent was given.
    """
    if (modality := header.get("Modality", "no modality")) != "MR":
        return UNKNOWN, f"it is {modality}, not MR"
    texts = [_plain(header.get(name, "")) for name in _TEXTS]
    names = [header[name] for name in ("SeriesDescription", "ProtocolName") if name in header]
    shown = " / ".join(repr(name) for name in dict.fromkeys(names))
    if other := _other(header, texts):
        return UNKNOWN, f"it is {other}{f' by its description {shown}' if shown else ''}"
    weighting, by = _weighting(header, texts, shown)
    if weighting is None:
        return UNKNOWN, by
    agent, words = _agent(header), next(filter(None, map(_contrast_words, texts)), None)
    if weighting != "t1":
        return weighting, by + (f"; after {agent}" if agent else "")
    if (agent and words == "pre") or (agent == "" and words == "post"):
        return UNKNOWN, f"{by}, but on contrast its description {shown} and its header contradict each other"
    if agent or words == "post":
        told = f"its header ({agent})" if agent else f"its description {shown}"
        return "t1c", f"{by}; contrast by {told}"
    # Times and sequence names are those of T1 before contrast, and after.
    told = words == "pre" or agent == "" or any(map(_named, texts[:2]))
    if words == "both" or not told:
        return UNKNOWN, f"{by}, but nothing tells whether contrast agent was given"
    return "t1", f"{by}; " + ("before contrast by its description" if words else "no contrast agent is named")


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9+*]+", " ", text.lower()).strip()


def _other(header: Mapping[str, Any], texts: Sequence[str]) -> str | None:
    """Returns what else than T1, T2 or FLAIR it is, if it says so."""
    types = (
        *header.get("ImageType", ()),
        *(header.get(name) for name in ("ComplexImageComponent", _CONTRAST)),
    )
    for value in types:
        if value in _OTHER_TYPES:
            return _OTHER_TYPES[value]
    if header.get("DiffusionBValue", 0) > 0:
        return "diffusion"
    return next(
        (what for what, pattern in _OTHERS.items() if any(re.search(pattern, t) for t in texts)), None
    )


def _weighting(header: Mapping[str, Any], texts: Sequence[str], shown: str) -> tuple[str | None, str]:
    """Returns t1, t2, flair or None, and by what or why not."""
    times = {"TR": "RepetitionTime", "TE": "EchoTime", "TI": "InversionTime"}
    repetition, echo, inversion = (header.get(keyword) for keyword in times.values())
    times = ", ".join(
        f"{name} {header[keyword]:g} ms" for name, keyword in times.items() if keyword in header
    )
    scanning = header.get("ScanningSequence", ())
    named = next(filter(None, map(_named, texts)), set())
    pd, named = "pd" in named, named - {"pd"}
    by = f"its description {shown}" if shown else "its sequence name"
    if len(named) > 1 and echo is not None:  # a T1 FLAIR is an inversion recovery with a short echo
        named = {name for name in named if _ECHO_MS[name][0] <= echo < _ECHO_MS[name][1]}
        by += f" and {times}"
    if len(named) > 1 or (pd and named != {"t2"}) or (pd and echo is None):
        return None, f"{by} names several weightings" if not pd else f"{by} names proton density"
    if named:
        (name,) = named
        low, high = _ECHO_MS[name]
        if echo is not None and not low <= echo < high:
            return None, f"{by} names {name}, but its echo time of {echo:g} ms contradicts"
        return name, by
    if contrast := _ENHANCED.get(header.get(_CONTRAST)):
        return contrast, f"its acquisition contrast {header[_CONTRAST]}"
    if repetition is None or echo is None or "EP" in scanning:
        return None, "its header names no sequence"
    inverted = "IR" in scanning or bool(inversion)
    if "SE" in scanning and not inverted and repetition <= 1000 and echo <= 30:
        return "t1", times
    if "GR" in scanning and inversion is not None and 500 <= inversion <= 1300 and echo <= 10:
        return "t1", times
    if echo >= 70 and repetition >= 4000 and inversion is not None and inversion >= 1500:
        return "flair", times
    if "SE" in scanning and not inverted and echo >= 70 and repetition >= 2000:
        return "t2", times
    return None, f"its header names no sequence, and {times} tell none"


def _named(text: str) -> set[str]:
    """Returns the weightings that a text names; a T2 FLAIR is a FLAIR."""
    found = {name for name, pattern in _WEIGHTINGS.items() if pattern.search(text)}
    return found - {"t2"} if "flair" in found else found


def _agent(header: Mapping[str, Any]) -> str | None:
    """Returns the contrast agent; "" where the header says that none was given, None where it is silent.

    An empty ContrastBolusAgent says nothing: some scanners write one into every image.
    """
    agent = header.get("ContrastBolusAgent", "")
    agent = "" if agent.lower() in ("unknown", "n/a") else agent
    if header.get("ContrastBolusAgentAdministered") == "NO" or _NO_AGENT.fullmatch(_plain(agent)):
        return ""
    if agent := agent or header.get("ContrastBolusIngredient", ""):
        return agent
    dosed = any(header.get(name, 0) > 0 for name in ("ContrastBolusVolume", "ContrastBolusTotalDose"))
    dosed |= header.get("ContrastBolusAgentAdministered") == "YES"
    return "a contrast agent without a name" if dosed else None


def _contrast_words(text: str) -> str | None:
    """Returns `pre`, `post`, `both` or None, as a description's words on contrast go."""
    if _BOTH.search(text):
        return "both"
    rest = _NEGATED.sub(" ", text)
    pre, post = rest != text or bool(_PRE.search(rest)), bool(_POST.search(rest))
    return "both" if pre and post else "pre" if pre else "post" if post else None
