"""Voilà as the dashboard needs it: one page, nothing else to fetch, a bounded number of kernels, a token."""

import json
import logging
import os
import signal
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from jupyter_server.utils import url_path_join
from tornado.ioloop import IOLoop
from traitlets.config import Config
from voila.app import Voila

from metseg.base.paths import project_root, released_dir
from metseg.evaluation.origin import refuse_scans_unlike_the_phantom
from metseg.inference.predictor import Predictor
from metseg.release.released import OFFERED, described_models, released_models
from metseg.serve.dashboard import channels, handlers
from metseg.serve.dashboard.bounded_server import BoundedServer
from metseg.serve.dashboard.seats import OwnKernelSpec, Seats
from metseg.serve.dashboard.visitors import Visitors
from metseg.serve.door import Door
from metseg.serve.faults import check_room
from metseg.serve.listening import listen
from metseg.serve.scan_folder import SCANS, ScanFolder
from metseg.serve.tokens import token_for

# The page may load nothing and talk to nobody but its server; widgets' scripts come as blobs.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; img-src blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_WEBSOCKET_BYTES = 4 * 2**20  # of one message; an upload comes in pieces of half a megabyte


class DashboardServer(Voila):
    """Voilà with its own page and routes, listening on a socket that is open already."""

    def setup_template_dirs(self) -> None:
        super().setup_template_dirs()
        self.template_paths = [str(handlers.TEMPLATE), *self.template_paths]

    def init_handlers(self) -> list[tuple]:
        """Returns all routes there are; no file can be fetched through any of them."""
        page = {"notebook_path": Path(self.notebook_path).name, "template_paths": self.template_paths}
        page |= {"config": self.config, "voila_configuration": self.voila_configuration}
        kernel = url_path_join(self.base_url, r"/api/kernels/(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)")
        return [
            (kernel, handlers.KernelHandler),
            (f"{kernel}/channels", channels.ChannelsHandler),
            (f"{kernel}/end", handlers.EndHandler),
            (url_path_join(self.base_url, r"/(.*)"), handlers.PageHandler, page),
        ]

    def listen(self) -> None:
        BoundedServer(self.app, xheaders=True).add_socket(self.socket)
        print(f"The dashboard is at {self.address} ({self.told}Ctrl-C ends it)", flush=True)
        self.ioloop = IOLoop.current()
        # A KeyboardInterrupt in the midst of ending a kernel would come again from `stop`, which awaits that.
        default = signal.signal(signal.SIGINT, self._handle_signal_stop)
        try:
            self.ioloop.start()
        finally:
            signal.signal(signal.SIGINT, default)
            self.stop()


def serve_dashboard(
    models: Mapping[str, Path] | None = None,
    *,
    phantom_network: bool = False,
    host: str = "127.0.0.1",
    port: int = 8866,
    token: str | None = None,
    max_kernels: int = 8,
    preheat: int = 1,
    idle_minutes: float = 30,
    visitor_gb: float = 4,
    base_url: str = "/",
    scans: Path | None = None,
    allowed_hosts: Iterable[str] = (),
) -> None:
    """Serves the dashboard until it is interrupted, and prints where it is.

    Args:
        models: {name: folder of an exported model}, the default first; the released ones if left out.
        phantom_network: Whether one that knows only the phantom may be among them.
        host: Address to listen on; "0.0.0.0" for all.
        port: Port to listen on; 0 takes a free one.
        token: What a visitor's link has to contain; if left out, one is made, unless only this machine can
            reach `host`.
        max_kernels: Visitors at a time, and kernels that wait for one; each holds some 200 MB.
        preheat: Kernels that wait for a visitor, so that the page is there at once; at most `max_kernels`.
        idle_minutes: A kernel whose visitor does nothing for so long is ended.
        visitor_gb: Memory that a kernel may take, GB; on Linux alone.
        base_url: Path before all addresses, for a reverse proxy that forwards it.
        scans: A folder whose scans every visitor may open; none if left out.
        allowed_hosts: Names that it goes by, beside this machine's own; "*", where there is a token: any.

    Raises:
        MetsegError: There is no model, one cannot be loaded or knows only the phantom, the address cannot be
            listened on, the token is short, or empty though others can reach the host, `scans` cannot be
            read, or the disk for temporary files is full.
    """
    for name in ("tornado.application", "tornado.general"):
        logging.getLogger(name).setLevel(logging.ERROR)  # strangers at the door are no news
    check_room()
    if models is None:
        models = {name: released_dir() / name for name in released_models(released_dir())}
    for name, description in described_models(models).items():
        Predictor(Path(models[name]), threads=1)  # a sentence now, where somebody reads it
        if not phantom_network:
            refuse_scans_unlike_the_phantom(description, name)
    os.environ[SCANS] = str(ScanFolder(scans).path) if scans else ""  # kernels inherit it
    seconds = max(1, int(60 * idle_minutes))
    base_url = url_path_join("/", base_url, "/")
    given, token = token, token_for(host, token)
    notebook = project_root() / "notebooks" / "dashboard.ipynb"
    listener = listen(host, port)
    listener.setblocking(False)
    port = listener.getsockname()[1]
    settings = {
        "headers": {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"},
        # Without a token, a page of another site must not reach this one under a name of its own making.
        "allow_remote_access": bool(token),
        "allow_unauthenticated_access": False,
        "websocket_max_message_size": _WEBSOCKET_BYTES,
        "log_function": lambda handler: None,
        "door": Door.of([host, *allowed_hosts], guarded=bool(token)),
    }
    config = {
        "Voila": {
            "notebook_path": str(notebook),
            "root_dir": str(notebook.parent),
            "port": port,
            "token": token,
            "base_url": base_url,
            "config_file_paths": [],  # what a user's own Voilà is set to is no matter of this one
            "log_level": logging.ERROR,
            "kernel_websocket_connection_class": channels.PageConnection,
            "identity_provider_class": Visitors,
            "tornado_settings": settings,
        },
        "VoilaConfiguration": {
            "multi_kernel_manager_class": Seats,
            "kernel_spec_manager_class": OwnKernelSpec,
            "preheat_kernel": preheat > 0,
            "default_pool_size": min(preheat, max_kernels),
            "allow_template_override": "NO",
            "allow_theme_override": "NO",
            "show_tracebacks": True,  # else Voilà hides an error's name, which is all that the template uses
            "resources": {"log_failure": handlers.log_failure},
        },
        "Seats": {
            "seats": max_kernels,
            "waiting": min(preheat, max_kernels),
            "cull_idle_timeout": seconds,
            "cull_interval": min(30, max(1, seconds // 4)),
            "cull_connected": True,
            "most_bytes": int(visitor_gb * 1e9),
        },
        "Visitors": {"cookie_options": {"samesite": "Lax"}},
        "KernelRestarter": {"restart_limit": 0},
    }
    offered = {name: str(Path(folder).resolve()) for name, folder in models.items()}
    os.environ[OFFERED] = json.dumps(offered)  # kernels inherit it
    server = DashboardServer(config=Config(config))
    server.socket = listener
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    # One that was given is known, and a log is no place for it.
    query = f"?token={quote(token, safe='')}" if token and not given else ""
    server.told = "with ?token= and yours; " if given else ""
    server.address = f"http://{shown}:{port}{base_url}{query}"
    server.initialize([])
    server.start()
