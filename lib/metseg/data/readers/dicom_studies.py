"""A folder of DICOM of many people becomes studies: whose, their series, and what was drawn on them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from metseg.base.errors import MetsegError
from metseg.data.grid import axial_grid
from metseg.data.kept import kept
from metseg.data.own_results import is_result
from metseg.data.readers.dicom_headers import read_owner
from metseg.data.readers.dicom_masks import MASKS, MaskHeader, read_header
from metseg.data.readers.dicom_series import Series, TooMuch, list_series
from metseg.data.readers.dicom_stacks import listed
from metseg.data.volume import Volume
from metseg.data.volume_files import SeriesFiles


@dataclass(frozen=True)
class Study:
    """One person's visit.

    Attributes:
        patient_id: PatientID, "" where there is none; the name is not kept.
        uid: StudyInstanceUID.
        date: StudyDate, YYYYMMDD, or None.
        series: Its series with images.
        masks: {file: what it tells} of each SEG and RTSTRUCT.
        beside: What else lies there and was skipped, as sentences.
    """

    patient_id: str
    uid: str
    date: str | None
    series: tuple[SeriesFiles, ...]
    masks: Mapping[Path, MaskHeader]
    beside: tuple[str, ...]

    @property
    def files(self) -> set[Path]:
        """All its files with images."""
        return {path for series in self.series for path in series.files}


def list_studies(
    files: Iterable[Path], folder: Path, *, on_file: Callable[[int, int], None] | None = None
) -> tuple[list[Study], list[str]]:
    """Lists the studies of a folder; headers alone are read, once, and what they tell is kept.

    Args:
        files: Of the folder; those that are no DICOM are passed over.
        folder: The folder.
        on_file: Called with (finished, of) now and then.

    Returns:
        The studies that have images, by patient, date and UID; and sentences on what belongs to none.

    Raises:
        MetsegError: A file cannot be opened.
    """
    files = list(files)
    found = kept(f"studies of {folder}", files, lambda: _found(files, folder, on_file))
    studies = [_study(each, folder) for each in found["studies"]]
    return studies, found["notes"]


def read_grid(series: SeriesFiles, name: str = "") -> Volume:
    """Returns the grid of a series, in its own axis order; its headers are read again.

    Raises:
        MetsegError: It is not what it was, or makes no volume.
    """
    found = next((each for each in list_series(series.files) if each.key == series.key), None)
    if found is None or found.refusal:
        raise MetsegError(f"{found or series} {found.refusal if found else 'has changed; look at its files'}")
    return _grid(found)


def _grid(series: Series) -> Volume:
    return Volume.of_grid(series.grid, affine=series.affine)


def _found(files: list[Path], folder: Path, on_file: Callable[[int, int], None] | None) -> dict:
    """Reads what `list_studies` returns, as JSON can hold it: files by their place below the folder."""
    owners = defaultdict[tuple[str, str], dict[Path, str]](dict)
    skipped, notes, studies, alone, done = [], [], [], [], 0

    def steps(count: int) -> None:  # each file is opened twice
        nonlocal done
        done += count
        if on_file:
            on_file(done, 2 * len(files))

    for path in files:
        found = read_owner(path)
        if found and found[-1]:
            owners[found[1:]][path] = found[0]
        elif (found or path.suffix.lower() == ".dcm") and path.name != "DICOMDIR":
            skipped.append(path.name)
        steps(1)
    for (patient_id, uid), kinds in sorted(owners.items()):
        masks = {path: header for path in kinds if kinds[path] in MASKS and (header := read_header(path))}
        images = sorted(kinds.keys() - masks.keys())
        results = [path for path in masks if is_result(path)]
        for path in results:
            del masks[path]
        try:
            series = list_series(images)
        except MetsegError as error:
            alone += masks.items()
            rest = [path.name for path in images]
            why = str(error) if isinstance(error, TooMuch) else "they hold no image that can be read"
            notes += [f"skipped, for {why}: {listed(rest)}"] * bool(rest)
            continue
        finally:
            steps(len(kinds))
        dates = {each.visit for each in series} - {None}
        beside = [f"{path.name} is left out: metseg wrote it, so it is no reference." for path in results]
        known = _of_study(series), masks, (*series[0].beside, *beside)
        studies.append(Study(patient_id, uid, min(dates, default=None), *known))
    notes += [f"skipped, for they are damaged or tell no StudyInstanceUID: {listed(skipped)}"] * bool(skipped)
    for path, header in alone:
        its = [k for k, study in enumerate(studies) if _shares_frame(study, header)]
        if len(its) == 1:
            study = studies[its[0]]
            studies[its[0]] = replace(study, masks={**study.masks, path: header})
            notes.append(f"{path.name} has UIDs of another study; its frame of reference told which it is of")
        else:
            notes.append(f"{path.name} is a reference without its scan")
    return {"studies": [_plain(study, folder) for study in studies], "notes": notes}


def _shares_frame(study: Study, header: MaskHeader) -> bool:
    return any(each.frame_of_reference in header.frames for each in study.series)


def _of_study(found: list[Series]) -> tuple[SeriesFiles, ...]:
    files = defaultdict[str, dict[Path, None]](
        dict
    )  # of all stacks under a UID, by which they are told apart
    for series in found:
        files[series.uid] |= dict.fromkeys(series.files)
    made = []
    for series in found:
        same = {name: getattr(series, name) for name in _SAME}
        grid = series.grid if series.refusal else axial_grid(_grid(series))
        made.append(SeriesFiles(files=tuple(files[series.uid]), called=str(series), grid=grid, **same))
    return tuple(made)


_SAME = {each.name for each in fields(SeriesFiles)} - {"files", "called", "grid"}


def _plain(study: Study, folder: Path) -> dict:
    def place(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    series = [{**vars(each), "files": [*map(place, each.files)]} for each in study.series]
    masks = {
        place(path): {**each._asdict(), "frames": [*each.frames], "unlikely": [*each.unlikely]}
        for path, each in study.masks.items()
    }
    return {**vars(study), "series": series, "masks": masks}


def _study(plain: dict, folder: Path) -> Study:
    series = tuple(
        SeriesFiles(
            **{
                **each,
                "files": tuple(folder / place for place in each["files"]),
                "grid": tuple(each["grid"]),
            }
        )
        for each in plain["series"]
    )
    masks = {
        folder / place: MaskHeader(
            each["called"],
            frozenset(each["frames"]),
            {int(number): text for number, text in each["parts"].items()},
            frozenset(each["unlikely"]),
        )
        for place, each in plain["masks"].items()
    }
    return Study(**{**plain, "series": series, "masks": masks, "beside": tuple(plain["beside"])})
