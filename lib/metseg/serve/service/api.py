"""The HTTP service: `POST /predict` segments a slice at once, a volume as a job."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Security
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, Gauge
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response

import metseg
from metseg.base.hardware import cores
from metseg.base.memory import give_back_memory
from metseg.data.readers.image_errors import ImageError
from metseg.data.volume import Volume
from metseg.inference.predictor import Predictor
from metseg.serve.faults import NO_ROOM, is_full
from metseg.serve.service.form import is_large, parameters, read_form
from metseg.serve.service.gate import Access, Gate
from metseg.serve.service.jobs import Job, Jobs
from metseg.serve.service.metrics import Counting, Metrics
from metseg.serve.service.openapi import DESCRIPTION, form_of
from metseg.serve.service.refusals import DOCUMENTED, answer
from metseg.serve.service.segmentation import JSON, PNG, Segmentation, model_cards, segment
from metseg.serve.service.settings import Settings
from metseg.serve.service.volumes import KINDS, answer_job, begin_job
from metseg.serve.upload import Refused
from metseg.serve.volume_upload import is_volume

_TIDY_SECONDS = 60
_BUSY = "The service has all the work it can hold; try again in a second"
_log = logging.getLogger("metseg.serve")


def create_app(
    models: Mapping[str, Path | Predictor],
    *,
    at_once: int | None = None,
    uploads: int = 16,
    upload_seconds: float = 30.0,
    waiting_seconds: float = 30.0,
    volumes: int = 4,
    jobs_folder: Path | None = None,
    access: Access | None = None,
) -> FastAPI:
    """Builds the service, when all its models have run once.

    Args:
        models: {name: folder of an exported model, or its Predictor}, the default first.
        at_once: Slices segmented at once, each in a thread; as many as there are cores if left out.
        uploads: Uploads read, waiting or segmented at once; each holds `MAX_UPLOAD_BYTES` at most, 16 of them
            256 MB.
        upload_seconds: The longest that sending a slice may take.
        waiting_seconds: The longest that an upload waits for its turn.
        volumes: Volumes read, waiting, segmented or waiting to be fetched.
        jobs_folder: Where volumes wait, which all processes of a service share; one for this app alone, and
            removed with it, if left out.
        access: Who may ask; everybody but the pages of other sites if left out.
    """
    offered = {
        name: each if isinstance(each, Predictor) else Predictor(each) for name, each in models.items()
    }
    for predictor in offered.values():  # else the first visitor would wait for it
        for slices in (1, 2):  # alone, on all cores; in company, on one each
            predictor.prob_map(Volume(np.zeros((3, slices, 32, 32), np.uint8)))
    metrics, seats, threads = Metrics(), asyncio.Semaphore(uploads), asyncio.Semaphore(at_once or cores())
    jobs, reading = Jobs(jobs_folder, most=volumes), asyncio.Semaphore(1)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async def forget() -> None:
            while True:
                await asyncio.sleep(_TIDY_SECONDS)
                jobs.forget_old()
                await run_in_threadpool(give_back_memory)

        forgetting = asyncio.create_task(forget())
        yield
        forgetting.cancel()
        jobs.close()

    access = access or Access()
    app = FastAPIOffline(
        lifespan=lifespan,
        static_url="/docs/static",
        # So that /docs has a field for the token; `Gate` asks for it.
        dependencies=[Security(HTTPBearer(auto_error=False))] if access.keys else None,
        title="metseg",
        version=metseg.__version__,
        description=DESCRIPTION,
        redirect_slashes=False,
        redoc_url=None,
    )
    app.add_middleware(Counting, metrics=metrics)
    app.add_middleware(Gate, access=access, metrics=metrics)
    if access.door and access.door.origins:
        told = ["Location", "Metseg-Notes", "Retry-After", "X-Request-ID"]
        pages = {"allow_origins": [*access.door.origins], "allow_headers": ["Authorization"]}
        app.add_middleware(CORSMiddleware, allow_methods=["GET", "POST"], expose_headers=told, **pages)
    _answer_all_errors(app, metrics)

    @app.post("/predict/", include_in_schema=False)
    @app.post(
        "/predict",
        response_model=Segmentation,
        responses={
            200: {
                "description": "The mask and its lesions; under `Accept: image/png` the mask alone.",
                "content": {PNG: {"schema": {"type": "string", "format": "binary"}}},
            },
            202: {"model": Job, "description": "A volume was read and waits; ask at `Location`."},
            **DOCUMENTED,
        },
        openapi_extra=form_of(list(models)),
        summary="Segment a slice or a volume",
    )
    async def predict(request: Request) -> Response:
        started, accepted = time.perf_counter(), request.headers.get("accept", "")
        media_type = PNG if PNG in accepted and JSON not in accepted else JSON
        if seats.locked():
            raise Refused("busy", _BUSY)
        job = jobs.reserve() if is_large(request) else None  # before it is read: it takes memory
        try:
            async with seats:
                sent = await read_form(request, seconds=upload_seconds)
                settings = Settings.read(parameters(request, sent))
                if is_volume(sent.files):
                    job = job or jobs.reserve()
                    async with _turn(reading, waiting_seconds):
                        begun = await run_in_threadpool(begin_job, job, sent, settings, offered, jobs)
                    job, begun.url = None, _under_prefix(request, begun.url)
                    headers = {"Location": begun.url}
                    return Response(begun.model_dump_json(), 202, headers=headers, media_type=JSON)
                if len(sent.files) > 1:
                    told = f"The form has {len(sent.files)} files; send one slice a request, or a volume"
                    raise Refused("several_files", told)
                async with _turn(threads, waiting_seconds, metrics.waiting):
                    if await request.is_disconnected():
                        raise ClientDisconnect
                    how = {"media_type": media_type, "started": started}
                    body = await run_in_threadpool(segment, sent.files[0][1], settings, offered, **how)
        finally:
            if job:
                jobs.drop(job)
        return Response(body, media_type=media_type, headers={"Vary": "Accept"})

    @app.get(
        "/jobs/{job}",
        response_class=Response,
        responses={
            200: {
                "description": "The mask as NIfTI on the grid of the scan's file, or the ZIP; sent once.",
                "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in KINDS},
            },
            202: {"model": Job, "description": "It is not done yet; ask again."},
            **DOCUMENTED,
        },
        summary="Ask for what was made of a volume",
    )
    def ask(request: Request, job: str) -> Response:
        return answer_job(_under_prefix(request, f"/jobs/{job}"), job, jobs.ask(job))

    @app.get("/models", summary="The models, and for what each is the default")
    async def list_models() -> list[dict[str, Any]]:
        return model_cards(offered)

    @app.get("/health", summary="Whether the service lives")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/health/ready", summary="Whether the service can segment; it answers nobody before it can")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, summary="Figures for Prometheus")
    def show_metrics() -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return app


@asynccontextmanager
async def _turn(of: asyncio.Semaphore, seconds: float, waiting: Gauge | None = None) -> AsyncIterator[None]:
    """Waits for a turn, counted in `waiting` meanwhile; raises `Refused` where it takes longer than that."""
    try:
        with waiting.track_inprogress() if waiting else nullcontext():
            await asyncio.wait_for(of.acquire(), seconds)
    except TimeoutError as error:
        raise Refused("busy", _BUSY) from error
    try:
        yield
    finally:
        of.release()


def _under_prefix(request: Request, path: str) -> str:
    """Returns a path as it is to be asked for, before a proxy strips its prefix."""
    return request.scope.get("root_path", "") + path


def _answer_all_errors(app: FastAPI, metrics: Metrics) -> None:
    """Makes every error a `Refusal`, FastAPI's own among them, and counts it."""

    def refuse(code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
        metrics.refused.labels(code).inc()
        _log.info("refused: %s", code)
        return answer(code, message, headers)

    @app.exception_handler(ImageError)
    @app.exception_handler(Refused)
    async def on_refused(request: Request, error: Refused | ImageError) -> Response:
        # uvicorn drops what is still to come of a refused request; of this one nobody knows how much that is.
        endless = error.code in ("too_large", "too_slow") and "content-length" not in request.headers
        return refuse(error.code, str(error), {"Connection": "close"} if endless else None)

    @app.exception_handler(OSError)
    async def on_os_error(request: Request, error: OSError) -> Response:
        if not is_full(error):
            raise error
        _log.error("%s", NO_ROOM)
        return refuse("no_room", NO_ROOM)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            message = f"This address takes {error.headers['Allow']}, not {request.method:.20}"
            return refuse("method_not_allowed", message, error.headers)
        return refuse("not_found", "There is nothing at this address; see /docs for what there is")

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; it is counted
