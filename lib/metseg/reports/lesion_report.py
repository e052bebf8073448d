"""The lesion report of one scan: data first, then one template for HTML and PDF, JSON and CSV beside."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import metseg
from metseg.base.files import replacing
from metseg.data.provenance import RESEARCH_USE
from metseg.inference.operating_points import LesionCalibration
from metseg.reports.follow_up import FollowUp
from metseg.reports.matching import Visit
from metseg.reports.rano_bm import IMAGING_PART, REFERENCE, choose_targets, why_not_measurable

MAX_PICTURES = 60
_COARSE = 1.5  # times the distance of the slices: no axial scan has such pixels
UNKNOWN_SIDES = "Left and right are unknown: the files do not tell how the patient lay."
UNKNOWN_SIZE = "The size of a voxel is unknown: sizes are in pixels and voxels, and nothing is measurable."


@dataclass(frozen=True)
class Origin:
    """Who marked the lesions.

    Attributes:
        network: The network's name, or "reference" for a mask drawn by hand.
        version: Which one of that name: a release's or the hash of its file; empty if there is none.
        precision: What it computed in; empty likewise.
        data: What it learned from.
        caution: What that means for these lesions.
        operating_point: What is to be expected of such masks, from validation; empty where nothing tells.
    """

    network: str
    version: str = ""
    precision: str = ""
    data: str = ""
    caution: str = ""
    operating_point: str = ""


@dataclass(frozen=True, eq=False)
class LesionReport:
    """All that a report says.

    Attributes:
        visit: The scan with its lesions.
        case_id, patient_id: The scan's and the person's name.
        origin: Who marked the lesions.
        notes: What was guessed or assumed in reading the files, as sentences.
        follow_up: The comparison with former visits, or None.
        calibration: How probable a lesion is by its score; None where the network has none.
        channel: The sequence of the pictures; the post-contrast one if left out.
        created: When the report was made.
    """

    visit: Visit
    case_id: str
    patient_id: str
    origin: Origin
    notes: Sequence[str] = ()
    follow_up: FollowUp | None = None
    calibration: LesionCalibration | None = None
    channel: str | None = None
    created: datetime = field(default_factory=lambda: datetime.now().astimezone())

    @property
    def targets(self) -> tuple[int, ...]:
        """Numbers of the target lesions; in a follow-up those that come from the baseline's."""
        if self.follow_up:
            return self.follow_up.targets_now
        return choose_targets(self.visit.lesions, self.visit.slice_mm)

    @property
    def sum_mm(self) -> float | None:
        """Sum of the longest diameters of the target lesions; None without any, or of unknown size."""
        longest = [self.visit.lesions[number - 1].longest.mm for number in self.targets]
        return sum(longest) if longest and None not in longest else None

    @property
    def grid(self) -> str:
        """The scan's grid in words."""
        sides = " × ".join(map(str, self.visit.volume.grid[::-1]))
        spacing = self.visit.volume.spacing_mm
        if spacing is None:
            return f"{sides} voxels (x, y, z) of unknown size"
        return f"{sides} voxels of {' × '.join(f'{step:.3g}' for step in spacing[::-1])} mm (x, y, z)"

    @property
    def reading_notes(self) -> list[str]:
        """The notes, with what the scan leaves unknown or coarse."""
        volume = self.visit.volume
        unknown = [UNKNOWN_SIDES] * (volume.affine is None) + [UNKNOWN_SIZE] * (volume.spacing_mm is None)
        if volume.spacing_mm is not None and max(volume.spacing_mm[1:]) > _COARSE * volume.spacing_mm[0]:
            y, x = volume.spacing_mm[1:]
            unknown.append(
                f"The scan's slices are not axial: in an axial plane its voxels are {x:.3g} × {y:.3g} mm, "
                "and diameters are no finer."
            )
        return [*self.notes, *unknown]

    def rows(self) -> list[dict]:
        """Returns the lesions as rows of plain values with units in their names; None where unknown.

        Slices and `centroid_axial_z`, `_y` and `_x` count voxels from 0 on the axial grid (see `to_axial`):
        slices to the head, rows to the back, columns to the patient's left. The file may count otherwise; the
        axial grid's affine is in `report.json`. `centroid_mm_r`, `_a` and `_s` are mm to the patient's right,
        anterior and superior from the origin of the scan's coordinates. `lesion_probability` is there where
        the network's is calibrated.
        """
        found = []
        for each in self.visit.lesions:
            misses = why_not_measurable(each, self.visit.slice_mm)
            is_target = each.number in self.targets
            row = {
                "lesion": each.number,
                "volume_mm3": each.volume_mm3,
                "voxels": each.voxels,
                "longest_diameter_mm": each.longest.mm,
                "perpendicular_diameter_mm": each.perpendicular.mm,
                "longest_diameter_px": each.longest.px,
                "perpendicular_diameter_px": each.perpendicular.px,
                "diameter_slice": each.axial_slice,
                "first_slice": each.box[0][0],
                "last_slice": each.box[0][1] - 1,
                "slice_count": each.slice_count,
            }
            row |= {f"centroid_axial_{axis}": each.centroid[k] for k, axis in enumerate("zyx")}
            row |= {
                f"centroid_mm_{axis}": (each.centroid_mm or [None] * 3)[k] for k, axis in enumerate("ras")
            }
            row |= {"mean_probability": each.mean_probability, "max_probability": each.max_probability}
            if self.calibration and self.calibration.slope is not None:
                row["lesion_probability"] = self.calibration.probability(each.score)
            row["rano_bm"] = "target" if is_target else "not measurable" if misses else "measurable"
            row["rano_bm_reason"] = "; ".join(misses)
            found.append(
                {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
            )
        return found


def write_report(report: LesionReport, folder: Path) -> dict[str, Path]:
    """Writes `report.html`, `report.pdf`, `report.json` and `lesions.csv`, each whole or not at all.

    All is made before the first file is written. The largest lesions and all targets get a picture.

    Returns:
        {"html", "pdf", "json", "csv": the file}.

    Raises:
        MetsegError: The report cannot be laid out, the disk is full, or the folder cannot be written to.
    """
    from metseg.reports.pictures import LesionPictures  # here, for data alone do without
    from metseg.reports.render import render_html, render_pdf

    pictures = LesionPictures(report.visit, report.channel)
    chosen = {*range(1, MAX_PICTURES + 1), *report.targets}
    shown = {each.number: pictures.jpeg(each) for each in report.visit.lesions if each.number in chosen}
    content = {
        "html": ("report.html", render_html(report, pictures, shown).encode()),
        "pdf": ("report.pdf", render_pdf(report, pictures, shown)),
        "json": ("report.json", json.dumps(report_record(report), indent=1, ensure_ascii=False).encode()),
        "csv": ("lesions.csv", _csv(report)),
    }
    paths = {}
    for kind, (name, of_file) in content.items():
        paths[kind] = Path(folder) / name
        with replacing(paths[kind]) as partial:
            partial.write_bytes(of_file)
    return paths


def report_record(report: LesionReport) -> dict:
    """Returns a report as `report.json` holds it: plain values, `None` where unknown."""
    volume, compared = report.visit.volume, report.follow_up
    ends = {"longest": lambda each: each.longest.ends, "perpendicular": lambda each: each.perpendicular.ends}
    lesions = report.rows()
    for row, lesion in zip(lesions, report.visit.lesions, strict=True):
        row |= {f"{name}_ends_px": of(lesion) for name, of in ends.items()}  # (row, column) of the slice
    record = {
        "metseg": metseg.__version__,
        "created": report.created.isoformat(timespec="seconds"),
        "use": RESEARCH_USE,
        "patient_id": report.patient_id,
        "case_id": report.case_id,
        "visit": report.visit.name,
        "origin": asdict(report.origin),
        **({"lesion_probability": report.calibration.told} if report.calibration else {}),
        "sequences": list(volume.channels),
        "grid_zyx": list(volume.grid),
        "spacing_mm_zyx": None if volume.spacing_mm is None else list(volume.spacing_mm),
        "affine_ras": None if volume.affine is None else volume.affine.tolist(),
        "notes": report.reading_notes,
        "lesions": lesions,
        "rano_bm": {
            "reference": REFERENCE,
            "limits": IMAGING_PART,
            "targets": list(report.targets),
            "sum_of_longest_diameters_mm": report.sum_mm,
        },
        "follow_up": None,
    }
    if compared:
        growth = ("growth_mm", "growth_percent", "volume_growth_percent")
        changes = [asdict(each) | {name: getattr(each, name) for name in growth} for each in compared.changes]
        record["follow_up"] = {
            "visits": list(compared.names),
            "changes": changes,
            "response": asdict(compared.response),
            "notes": list(compared.notes),
        }
    return record


def _csv(report: LesionReport) -> bytes:
    rows = report.rows()
    text = io.StringIO()
    columns = ["case_id", *(rows[0] if rows else ())]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({"case_id": report.case_id} | row for row in rows)
    return text.getvalue().encode()
