"""The HTTP service: `POST /predict` segments one slice."""

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

import metseg
from metseg.base.errors import MetsegError
from metseg.inference.predictor import Predictor
from metseg.serve.service.accept import preferred
from metseg.serve.service.admission import Admission, Limits
from metseg.serve.service.api_docs import DESCRIPTION, PREDICT_DOCS, PREDICT_REQUEST, name_models
from metseg.serve.service.doorway import Doorway
from metseg.serve.service.form import parse_form, read_body
from metseg.serve.service.metrics import Metrics
from metseg.serve.service.refusals import RequestError, answer, documented, try_again
from metseg.serve.service.segmentation import JSON, PNG, ModelCard, Models, Segmentation, segment
from metseg.serve.service.settings import Settings, invalid_setting
from metseg.serve.upload import UploadError, read_upload

_log = logging.getLogger("metseg.serve")
_PATHS = frozenset(
    ("/", "/predict", "/models", "/health", "/health/ready", "/metrics", "/docs", "/openapi.json")
)


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """The models are loaded."""

    status: Literal["ready"] = "ready"


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
    failed = False

    async def load() -> None:
        nonlocal failed
        failed = not await asyncio.to_thread(_load, offered)

    def refuse_if_failed() -> None:
        if failed:
            message = "The models could not be loaded; the service's log says why, so tell who runs it"
            raise RequestError(500, "internal_error", message)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.admission = admission = Admission(limits, metrics)
        loading = asyncio.create_task(load())
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
        responses=PREDICT_DOCS | documented(400, 406, 408, 413, 415, 422, 500, 503),
        openapi_extra={"requestBody": PREDICT_REQUEST},
        summary="Segment one slice",
    )
    async def predict(request: Request, settings: Annotated[Settings, Query()]) -> Response:
        media_type = preferred(request.headers.get("accept"), (JSON, PNG))
        if media_type is None:
            message = f"The answer is {JSON} or {PNG}; accept one of them"
            raise RequestError(406, "not_acceptable", message)
        refuse_if_failed()
        offered.named(settings.model)  # before anything is read
        started, content_type = request.scope["started"], request.headers.get("content-type", "")
        admission: Admission = request.app.state.admission
        with admission.upload() as hold:
            body = await read_body(request, seconds=limits.upload_seconds, hold=hold)

            def job() -> bytes:
                content, fields = parse_form(content_type, body)
                asked = settings.updated(fields)
                before = time.perf_counter()
                upload = read_upload(content)
                decode_ms = 1000 * (time.perf_counter() - before)
                _log.info("%s of %d bytes", upload.kind, len(content))
                times = {"decode_ms": decode_ms, "started": started}
                return segment(upload, asked, offered, media_type=media_type, **times)

            result = await admission.run(job, gone=request.is_disconnected)
        if result is None:
            raise ClientDisconnect
        return Response(result, media_type=media_type, headers={"Vary": "Accept"})

    @app.get("/models", responses=documented(500, 503), summary="The models, the default first")
    async def list_models() -> list[ModelCard]:
        refuse_if_failed()
        return offered.cards()

    @app.get("/health", summary="Whether the service lives")
    async def health() -> Alive:
        return Alive()

    @app.get("/health/ready", responses=documented(500, 503), summary="Whether the service can segment")
    async def ready() -> Ready:
        refuse_if_failed()
        if not offered.ready:
            raise try_again("not_ready", "The models are still loading; try again in a second")
        return Ready()

    @app.get("/metrics", response_class=Response, summary="Figures for Prometheus")
    def show_metrics() -> Response:
        text, media_type = metrics.text()
        return Response(text, headers={"Content-Type": media_type})

    @app.get("/", include_in_schema=False)
    async def pointer() -> dict[str, str]:
        return {"name": "metseg", "segment": "curl -F file=@slice.tif <address>/predict", "docs": "/docs"}

    name_models(app, list(models))
    return app


def _load(models: Models) -> bool:
    """Loads the models; returns whether that went well, and logs what did not."""
    try:
        models.load()
    except MetsegError as error:
        _log.critical("%s", error)
        return False
    except Exception as error:  # such as ONNX Runtime's; nobody else would hear of it
        where = "".join(traceback.format_tb(error.__traceback__))
        _log.critical("The models cannot be loaded: %s at\n%s", type(error).__name__, where)
        return False
    return True


def _answer_all_errors(app: FastAPI, metrics: Metrics) -> None:
    """Makes every error a `Refusal`, FastAPI's own among them, and counts it."""

    def refuse(
        status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> JSONResponse:
        metrics.refused.labels(code).inc()
        _log.info("refused: %s", code)
        return answer(status, code, message, headers)

    @app.exception_handler(RequestError)
    async def on_request_error(request: Request, error: RequestError) -> JSONResponse:
        return refuse(error.status, error.code, str(error), error.headers)

    @app.exception_handler(UploadError)
    async def on_upload_error(request: Request, error: UploadError) -> JSONResponse:
        return refuse(error.status, error.code, str(error))

    @app.exception_handler(RequestValidationError)
    async def on_invalid_setting(request: Request, error: RequestValidationError) -> JSONResponse:
        return await on_request_error(request, invalid_setting(error.errors()))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            message = f"This address takes {allowed}, not {request.method:.20}"
            return refuse(405, "method_not_allowed", message, error.headers)
        return refuse(404, "not_found", "There is nothing at this address; see /docs for what there is")

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; it is counted
