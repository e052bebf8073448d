"""An uploaded volume becomes a job: it is read at once, so that what is wrong is told at once."""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

from starlette.responses import Response

from metseg.base.errors import MetsegError
from metseg.data.provenance import RESEARCH_USE
from metseg.data.scan_inputs import OpenScan
from metseg.data.volume import SEQUENCES
from metseg.inference.incomplete import notes_on_missing
from metseg.inference.operating_points import expected, told_of
from metseg.inference.predictor import Predictor
from metseg.inference.trust import Untrusted
from metseg.masks.postprocess import Postprocessing
from metseg.reports.result_paths import OF_DICOM
from metseg.reports.results import network_for
from metseg.serve.service.form import SentFiles
from metseg.serve.service.jobs import Done, Job, Jobs
from metseg.serve.service.settings import Settings
from metseg.serve.upload import Refused, untrusted
from metseg.serve.volume_results import segment_with, write_archive
from metseg.serve.volume_upload import VolumeUpload

KINDS = ("application/zip", "application/gzip")
NOTES = "Metseg-Notes"  # header of a file, which has no other place for them
_MOST_HEADER = 4000  # bytes
_log = logging.getLogger("metseg.serve")


def begin_job(
    job: str, sent: SentFiles, settings: Settings, models: Mapping[str, Predictor], jobs: Jobs
) -> Job:
    """Reads a volume and has it segmented later.

    Args:
        job: Reserved; it is started when all is well.
        sent: The upload.
        settings: How it is to be segmented, and what is to be made of it.
        models: To choose from, the default first.
        jobs: Where it waits.

    Returns:
        What the sender is told.

    Raises:
        ImageError, Refused: The volume cannot be read, or the settings do not fit it.
    """
    name = settings.chosen_of(models, "volume")
    predictor = models[name]
    told = settings.model_dump(include=set(SEQUENCES), exclude_none=True)
    also = settings.also.split(",") if settings.also else []
    upload = VolumeUpload(sent.files, home=jobs.folder)
    try:
        scan = upload.open(told, allow_missing=bool(settings.allow_missing))
        _refuse_missing(scan, predictor)
        predictor = network_for(scan, predictor)
        used = settings.postprocessing(predictor, scan.scan.volume.spacing_mm)
        if scan.series is None and (of_dicom := [each for each in also if each in OF_DICOM]):
            raise Refused("invalid_setting", f"also is {of_dicom[0]}, but the scan is no DICOM; leave it out")
    except BaseException:
        upload.close()
        raise
    _log.info("a volume of %d bytes", sum(len(content) for _, content in sent.files))
    work = partial(_segment, upload, scan, predictor, used, also, jobs.folder, bool(settings.trust_anyway))
    jobs.start(job, work)
    caution = f"{RESEARCH_USE} {predictor.description['data']['caution']}"
    notes = [*scan.scan.notes, *settings.idle_for("volume")]
    known = predictor.operating_points, predictor.postprocessing, used
    notes += [each for each in (told_of(*known),) if each]
    address = f"/jobs/{job}"
    about = {"model": name, "notes": notes, "caution": caution, "expected": expected(*known)}
    return Job(id=job, status="queued", url=address, **about)


def answer_job(url: str, job: str, found: str | Done) -> Response:
    """Returns how far a job is as JSON, and where to ask again; or the file that came of it."""
    if isinstance(found, str):
        told = Job(id=job, status=found, url=url).model_dump_json(
            exclude={"model", "notes", "caution", "expected"}
        )
        return Response(told, 202, headers={"Retry-After": "1"}, media_type="application/json")
    plain = found.name.encode("ascii", "replace").decode().replace("?", "_")  # RFC 6266, appendix D
    named = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(found.name)}"
    kind = KINDS[0 if found.name.endswith(".zip") else 1]
    headers = {"Content-Disposition": named, NOTES: _as_header(found.notes)}
    return Response(found.content, headers=headers, media_type=kind)


def _refuse_missing(scan: OpenScan, predictor: Predictor) -> None:
    """What comes of what is missing is told with the mask; here only whether there will be one."""
    try:
        notes_on_missing(predictor.description, scan.scan.missing, scan.case_id)
    except MetsegError as error:
        raise Refused("unusable_volume", str(error)) from error


def _as_header(notes: Sequence[str]) -> str:
    """Returns sentences as JSON in percent-encoding, for a header is ASCII; as many as a proxy lets pass."""
    while len(text := quote(json.dumps(notes, ensure_ascii=False))) > _MOST_HEADER:
        notes = notes[:-1]
    return text


def _segment(
    upload: VolumeUpload,
    scan: OpenScan,
    predictor: Predictor,
    used: Postprocessing,
    also: list[str],
    home: Path,
    trust_anyway: bool,
) -> Done:
    with upload:
        try:
            found = segment_with(scan, predictor, used, trust_anyway=trust_anyway)
        except Untrusted as error:
            raise untrusted(error) from error
        # Those on the mask first: how the files were read, the sender was told as the job began.
        told = [each for each in (found.origin.operating_point,) if each]
        return Done(*write_archive(found, also, home), (*found.cautions, *found.scan.scan.notes, *told))
