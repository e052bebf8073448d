"""The HTTP service: `POST /predict` segments one slice."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

import metseg
from metseg.inference.predictor import Predictor
from metseg.serve.service.admission import Admission, Limits
from metseg.serve.service.doorway import Doorway
from metseg.serve.service.form import read_form
from metseg.serve.service.metrics import Metrics
from metseg.serve.service.openapi import ANSWERS, DESCRIPTION, REQUEST, name_models
from metseg.serve.service.refusals import answer, documented
from metseg.serve.service.segmentation import JSON, PNG, ModelCard, Models, Segmentation, segment
from metseg.serve.service.settings import Settings, invalid_setting
from metseg.serve.upload import Refused, read_upload

_log = logging.getLogger("metseg.serve")
_PATHS = frozenset(
    ("/", "/predict", "/models", "/health", "/health/ready", "/metrics", "/docs", "/openapi.json")
)


def create_app(
    models: Mapping[str, Path | Predictor],
    *,
    limits: Limits | None = None,
    metrics_folder: Path | None = None,
) -> FastAPI:
    """Builds the service.

    Args:
        models: {name: folder of an exported model, or its Predictor}, the default first. Those in folders
            are loaded while the service starts, and all run once; until then it is not ready, and says so.
        limits: What it takes on.
        metrics_folder: Where several processes of one service keep their figures; None for one alone.
    """
    limits = limits or Limits()
    metrics, offered = Metrics(metrics_folder), Models(models)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.admission = admission = Admission(limits, metrics)
        loading = asyncio.create_task(asyncio.to_thread(offered.load))
        try:
            yield
            await loading
        finally:
            admission.close()

    app = FastAPI(
        title="metseg",
        version=metseg.__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
    )
    app.add_middleware(Doorway, metrics=metrics, paths=_PATHS)
    _answer_all_errors(app, metrics)

    @app.post("/predict/", include_in_schema=False)
    @app.post(
        "/predict",
        response_model=Segmentation,
        responses=ANSWERS,
        openapi_extra=REQUEST,
        summary="Segment one slice",
    )
    async def predict(request: Request, settings: Annotated[Settings, Query()]) -> Response:
        media_type = _preferred(request.headers.get("accept"))
        offered.named(settings.model)  # before anything is read
        admission: Admission = request.app.state.admission
        with admission.upload() as hold:
            content, fields = await read_form(request, seconds=limits.upload_seconds, hold=hold)
            asked = settings.updated(fields)

            def job() -> bytes:
                before = time.perf_counter()
                upload = read_upload(content)
                times = {"decode_ms": 1000 * (time.perf_counter() - before)}
                times["started"] = request.scope["started"]
                _log.info("%s of %d bytes", upload.kind, len(content))
                return segment(upload, asked, offered, media_type=media_type, **times)

            result = await admission.run(job, gone=request.is_disconnected)
        if result is None:
            raise ClientDisconnect
        return Response(result, media_type=media_type, headers={"Vary": "Accept"})

    @app.get("/models", responses=documented(500, 503), summary="The models, the default first")
    async def list_models() -> list[ModelCard]:
        return offered.cards()

    @app.get("/health", summary="Whether the service lives")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/health/ready", responses=documented(500, 503), summary="Whether the service can segment")
    async def ready() -> dict[str, str]:
        offered.named(None)
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, summary="Figures for Prometheus")
    def show_metrics() -> Response:
        text, media_type = metrics.text()
        return Response(text, headers={"Content-Type": media_type})

    @app.get("/", include_in_schema=False)
    async def pointer() -> dict[str, str]:
        return {"name": "metseg", "segment": "curl -F file=@slice.tif <address>/predict", "docs": "/docs"}

    name_models(app, list(models))
    return app


def _preferred(accept: str | None) -> str:
    """Returns `JSON` or `PNG`, whichever an `Accept` header ranks higher; JSON if it does not care.

    Raises:
        Refused: It accepts neither.

    Reference: RFC 9110, 12.5.1: the most precise range decides on a kind.
    """
    weights = {}
    for each in re.sub(r"\s", "", accept or "*/*").lower().split(","):
        kind, *parameters = each.split(";")
        told = [value.removeprefix("q=") for value in parameters if value.startswith("q=")] or ["1"]
        weights[kind] = float(told[0]) if re.fullmatch(r"0(\.\d*)?|1(\.0*)?", told[0]) else 0.0
    ranked = []
    for media_type in (JSON, PNG):
        ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
        found = next((each for each in ranges if each in weights), None)
        if found and weights[found] > 0:
            ranked.append((weights[found], -ranges.index(found), media_type))
    if not ranked:
        raise Refused("not_acceptable", f"The answer is {JSON} or {PNG}; accept one of them")
    return max(ranked, key=lambda each: each[:2])[-1]


def _answer_all_errors(app: FastAPI, metrics: Metrics) -> None:
    """Makes every error a `Refusal`, FastAPI's own among them, and counts it."""

    def refuse(code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
        metrics.refused.labels(code).inc()
        _log.info("refused: %s", code)
        return answer(code, message, headers)

    @app.exception_handler(Refused)
    async def on_refused(request: Request, error: Refused) -> Response:
        return refuse(error.code, str(error))

    @app.exception_handler(RequestValidationError)
    async def on_invalid_setting(request: Request, error: RequestValidationError) -> Response:
        return await on_refused(request, invalid_setting(error.errors()))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            message = f"This address takes {allowed}, not {request.method:.20}"
            return refuse("method_not_allowed", message, error.headers)
        return refuse("not_found", "There is nothing at this address; see /docs for what there is")

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; it is counted
