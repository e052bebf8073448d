"""The service as processes that listen on a port."""

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing import parent_process
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from metseg.base.errors import MetsegError
from metseg.evaluation.origin import refuse_scans_unlike_the_phantom
from metseg.inference.predictor import Predictor
from metseg.serve.door import Door
from metseg.serve.faults import check_room
from metseg.serve.listening import listen
from metseg.serve.service.api import create_app
from metseg.serve.service.gate import Access
from metseg.serve.service.metrics import reserve_figures
from metseg.serve.service.protocol import BoundedProtocol
from metseg.serve.service.workers import Workers
from metseg.serve.tokens import Keys, token_for

_LISTENS = "metseg listens on http://%s:%d"
_log = logging.getLogger("metseg.serve")


def serve(
    models: Mapping[str, Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    log_level: str = "INFO",
    phantom_network: bool = False,
    token: str | None = None,
    keys: Path | None = None,
    allowed_hosts: Iterable[str] = (),
    allowed_origins: Iterable[str] = (),
    root_path: str = "",
) -> None:
    """Answers requests until the process is told to end (SIGTERM, Ctrl-C); what is in flight is finished.

    Args:
        models: {name: folder of an exported model}, the default first.
        host: Address to listen on; the default is seen by this machine alone.
        port: Port to listen on; 0 for any free one.
        workers: Processes.
        log_level: The least that is worth a line on stderr.
        phantom_network: Whether one that knows only the phantom may be among the models.
        token: What a request must bring; if left out, one is made up and printed, unless only this machine
            can reach `host`, or there are `keys`.
        keys: File of tokens, a line `name: token` each, read again when it changes.
        allowed_hosts: Names that it goes by, beside this machine's own; "*", where tokens are asked for: any.
        allowed_origins: Other sites whose pages may ask it, such as `https://viewer.example`.
        root_path: What a proxy strips of every path, such as `/api`.

    Raises:
        MetsegError: A model cannot be loaded or knows only the phantom, the address cannot be listened on,
            what is said of access is not usable, the disk for temporary files is full, or the processes die
            one after the other.
    """
    _end_with_parent()
    if parent_process():
        sys.stdin = None  # is multiprocessing's own, which uvicorn would hand on in vain
    check_room()
    asked = token_for(host, token, others=bool(keys))
    tokens = Keys({"token": asked} if asked else {}, keys) if asked or keys else None
    access = Access(tokens, Door.of([host, *allowed_hosts], allowed_origins, guarded=bool(tokens)))
    # Now, so that a damaged one is a sentence that somebody reads.
    offered = {name: Predictor(folder) for name, folder in models.items()}
    if not phantom_network:
        for name, predictor in offered.items():
            refuse_scans_unlike_the_phantom(predictor.description, name)
    listener = listen(host, port)
    logger = {"handlers": ["stderr"], "level": log_level, "propagate": False}
    logs = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {"uvicorn": logger, "metseg": logger},
    }
    settings = {
        "factory": True,
        "workers": workers,
        "http": BoundedProtocol,
        "ws": "none",
        "interface": "asgi3",
        "access_log": False,  # an address may hold a name
        "server_header": False,
        "root_path": f"/{root_path.strip('/')}".rstrip("/"),
        "log_config": logs,
        "timeout_keep_alive": 30,
        "timeout_graceful_shutdown": 60,
        "timeout_worker_healthcheck": 30,
    }
    shown = f"[{host}]" if ":" in host else host
    if asked and not token:
        print(f"Requests need the header 'Authorization: Bearer {asked}'", flush=True)
    if workers == 1:
        config = uvicorn.Config(partial(create_app, offered, access=access), **settings)
        _log.info(_LISTENS, shown, listener.getsockname()[1])
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
        return
    with tempfile.TemporaryDirectory(prefix="metseg-service-") as home:
        jobs, figures = Path(home, "jobs"), Path(home, "figures")
        for folder in (jobs, figures):
            folder.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(figures)
        offered.clear()  # each process loads its own
        config = uvicorn.Config(partial(_app_of_worker, dict(models), jobs, access), **settings)
        _log.info(_LISTENS, shown, listener.getsockname()[1])
        Workers(config, sockets=[listener]).run()


def _app_of_worker(models: Mapping[str, Path], jobs: Path, access: Access) -> FastAPI:
    """Makes the app of one process of several, which loads models of its own."""
    _end_with_parent()
    reserve_figures()
    try:
        return create_app(models, jobs_folder=jobs, access=access)
    except MetsegError as error:
        _log.error("%s", error)
        raise SystemExit(STARTUP_FAILURE) from None


def _end_with_parent() -> None:
    """Ends this process with the one that started it, however that ends; else it would hold the port."""
    if parent := parent_process():
        end = partial(os.kill, os.getpid(), signal.SIGTERM)
        threading.Thread(target=lambda: (parent.join(), end()), daemon=True).start()
