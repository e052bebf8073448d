"""A lesion report laid out: one template for the browser and for paper."""

import io
import logging
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

import metseg
from metseg.base.errors import MetsegError
from metseg.data.provenance import RESEARCH_USE
from metseg.data.volume import SEQUENCES
from metseg.reports.lesion_report import LesionReport
from metseg.reports.pictures import LesionPictures
from metseg.reports.rano_bm import IMAGING_PART, MAX_TARGETS, REFERENCE

_MINUS, _DASH = "\N{MINUS SIGN}", "\N{EN DASH}"  # Helvetica of PDF readers has the dash alone
_LONG = re.compile(r"(\S{60})(?=\S)")
_TEMPLATES = Path(__file__).parent / "templates"


def render_html(report: LesionReport, pictures: LesionPictures, shown: Mapping[int, bytes]) -> str:
    """Returns the report as one HTML page that needs no other file; `shown` is {lesion: its JPEG}."""
    return _render(report, pictures, shown)


def render_pdf(report: LesionReport, pictures: LesionPictures, shown: Mapping[int, bytes]) -> bytes:
    """Returns the report as a PDF of A4 pages.

    By xhtml2pdf, which takes the template as it is; fpdf2 knows no CSS and refuses a line break in a table.
    Every PDF reader has Helvetica, which knows western European letters alone; a report with any other is set
    in DejaVu Sans, which matplotlib brings.

    Raises:
        MetsegError: It cannot be laid out.
    """
    from reportlab import rl_config  # here, for this and the next take a second to load
    from xhtml2pdf import pisa
    from xhtml2pdf.config.resources import ResourceAccessPolicy

    fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
    western = _is_western(_render(report, pictures, {}, pdf=True))
    page = _render(report, pictures, shown, pdf=True, fonts=None if western else fonts)
    # Nothing of the network, and nothing of the machine but the fonts.
    policy = ResourceAccessPolicy(allow_remote=False, base_dir=fonts)
    rl_config.useA85 = 0  # pictures as they are: as text they take longer than all the rest
    logging.getLogger("xhtml2pdf").setLevel(logging.ERROR)  # a letter that DejaVu lacks is shown as a box
    buffer = io.BytesIO()
    known = {"encoding": "utf-8", "resource_policy": policy}
    done = pisa.CreatePDF(page.replace(_MINUS, _DASH), buffer, capacity=-1, **known)  # no page on a disk
    if done.err:
        raise MetsegError(f"the report of {report.case_id} cannot be laid out as PDF; print its HTML instead")
    return buffer.getvalue()


def _render(
    report: LesionReport,
    pictures: LesionPictures,
    shown: Mapping[int, bytes],
    *,
    pdf: bool = False,
    fonts: Path | None = None,
) -> str:
    return _template(pdf).render(
        report=report,
        rows=report.rows(),
        shown={number: b64encode(jpeg).decode() for number, jpeg in shown.items()},
        pictures=pictures,
        sequences=[
            f"{name} ({SEQUENCES[name]})" if name in SEQUENCES else name
            for name in report.visit.volume.channels
        ],
        pdf=pdf,
        fonts=fonts,
        version=metseg.__version__,
        research_use=RESEARCH_USE,
        reference=REFERENCE,
        imaging_part=IMAGING_PART,
        max_targets=MAX_TARGETS,
    )


@cache
def _template(pdf: bool) -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_breakable if pdf else None,
    )
    environment.filters |= {"number": _number, "signed": _signed}
    return environment.get_template("lesion_report.html")


def _number(value: float | None, digits: int = 1) -> str:
    return _DASH if value is None else f"{value:.{digits}f}".replace("-", _MINUS)


def _signed(value: float | None, digits: int = 1) -> str:
    return _DASH if value is None else f"{value:+.{digits}f}".replace("-", _MINUS)


def _is_western(text: str) -> bool:
    try:
        text.replace(_MINUS, _DASH).encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def _breakable(value):
    """Gives a word that is longer than a line, as paths are, places to break; a browser finds them itself."""
    return value if not isinstance(value, str) or hasattr(value, "__html__") else _LONG.sub(r"\1 ", value)
