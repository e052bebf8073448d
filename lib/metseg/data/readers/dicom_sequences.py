"""Which sequence a DICOM series is, t1, t1c, t2 or flair, as far as its header tells, and by what."""

import re
from collections.abc import Mapping
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
_FLAIR = re.compile(r"flair|dark ?fl|\btirm? .*dark|\bspcir|\bt2f\b")
_T2 = re.compile(r"\bt2")
_T1 = re.compile(r"\bt1|\bmp2?[ -]?rage|\bbravo\b|\bf?spgr|\btfl ?3d|\bvibe\b|\bthrive\b")
_PD = re.compile(r"\bpd|\bproton|\bdp\b")
_AGENT = r"(contrast\w*|gd|gad\w*|km|ce|c|mdc)\b"
_BOTH = re.compile(r"\bw (and )?(wo|w o)\b|\bwith (and )?(wo|without)\b|\bpre (and )?post\b")
_NEGATED = re.compile(rf"\b(no|non|not|without|wo|w o|ohne|sin|sans|senza|pre) ?{_AGENT}")
_PRE = re.compile(r"\bpre\b(?! ?op)|\bnativ|\bplain\b|\bunenhanced\b")
_POST = re.compile(
    r"\bpost\b(?! ?op)|\bcontrast|\b(gd|gad\w*|km|ce|mdc)\b|\+ ?c\b|\bc ?\+"
    r"|\bt1w? ?(c|ce|gd|km|post)\b(?! ?op)"
)
_NO_AGENT = re.compile(r"(no|none|non|n|n a|without|ohne|kein\w*|nativ\w*|nil|0|false|unknown)( .*)?")
_ENHANCED = {"T1": "t1", "T2": "t2", "FLUID_ATTENUATED": "flair"}  # AcquisitionContrast, PS3.3 C.8.13.3.1.1
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
    names = [header[k] for k in ("SeriesDescription", "ProtocolName") if k in header]
    shown = " / ".join(repr(name) for name in dict.fromkeys(names))
    text = _plain(
        " | ".join([*names, str(header.get("SequenceName", "")), str(header.get("PulseSequenceName", ""))])
    )
    if other := _other(header, text):
        return UNKNOWN, f"it is {other}{f' by its description {shown}' if shown else ''}"
    weighting, by = _weighting(header, text, shown)
    if weighting is None:
        return UNKNOWN, by
    agent, words = _agent(header), _contrast_words(text)
    if weighting != "t1":
        return weighting, by + (f"; after {agent}" if agent else "")
    if (agent and words == "pre") or (agent == "" and words == "post"):
        return UNKNOWN, f"{by}, but on contrast its description {shown} and its header contradict each other"
    if agent or words == "post":
        return "t1c", f"{by}; contrast by " + (
            f"its header ({agent})" if agent else f"its description {shown}"
        )
    if words == "both" or not (names or agent == ""):
        return UNKNOWN, f"{by}, but nothing tells whether contrast agent was given"
    return "t1", f"{by}; " + ("before contrast by its description" if words else "no contrast agent is named")


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9+*|]+", " ", text.lower()).strip()


def _listed(value: Any) -> list[str]:
    return [str(each).upper() for each in (value if isinstance(value, list) else [value] if value else [])]


def _other(header: Mapping[str, Any], text: str) -> str | None:
    """Returns what else than T1, T2 or FLAIR it is, if it says so."""
    for name in ("ImageType", "ComplexImageComponent", "AcquisitionContrast"):
        for value in _listed(header.get(name)):
            if value in _OTHER_TYPES:
                return _OTHER_TYPES[value]
    if header.get("DiffusionBValue", 0) > 0:
        return "diffusion"
    return next((what for what, pattern in _OTHERS.items() if re.search(pattern, text)), None)


def _weighting(header: Mapping[str, Any], text: str, shown: str) -> tuple[str | None, str]:
    """Returns t1, t2, flair or None, and by what or why not."""
    repetition, echo, inversion = (
        _ms(header, name) for name in ("RepetitionTime", "EchoTime", "InversionTime")
    )
    scanning = _listed(header.get("ScanningSequence"))
    times = ", ".join(
        f"{name} {ms:g} ms"
        for name, ms in (("TR", repetition), ("TE", echo), ("TI", inversion))
        if ms is not None
    )
    t1, t2, flair, pd = (bool(pattern.search(text)) for pattern in (_T1, _T2, _FLAIR, _PD))
    named = {"t1"} if t1 else set()
    named |= {"flair"} if flair else {"t2"} if t2 else set()
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
    if contrast := _ENHANCED.get(str(header.get("AcquisitionContrast"))):
        return contrast, f"its acquisition contrast {header['AcquisitionContrast']}"
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


def _ms(header: Mapping[str, Any], keyword: str) -> float | None:
    value = header.get(keyword)
    value = value[0] if isinstance(value, list) else value
    return value if isinstance(value, float) else None


def _agent(header: Mapping[str, Any]) -> str | None:
    """Returns the contrast agent; "" where the header says that none was given, None where it is silent.

    An empty ContrastBolusAgent says nothing: some scanners write one into every image.
    """
    agent = str(header.get("ContrastBolusAgent", ""))
    if header.get("ContrastBolusAgentAdministered") == "NO" or _NO_AGENT.fullmatch(_plain(agent)):
        return ""
    if agent or (agent := str(header.get("ContrastBolusIngredient", ""))):
        return agent
    given = (header.get(name, 0) for name in ("ContrastBolusVolume", "ContrastBolusTotalDose"))
    dosed = any(isinstance(amount, float) and amount > 0 for amount in given)
    dosed |= header.get("ContrastBolusAgentAdministered") == "YES"
    return "a contrast agent without a name" if dosed else None


def _contrast_words(text: str) -> str | None:
    """Returns `pre`, `post`, `both` or None, as a description's words on contrast go."""
    if _BOTH.search(text):
        return "both"
    rest = _NEGATED.sub(" ", text)
    pre, post = rest != text or bool(_PRE.search(rest)), bool(_POST.search(rest))
    return "both" if pre and post else "pre" if pre else "post" if post else None
