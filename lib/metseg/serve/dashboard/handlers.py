"""What the dashboard's server answers: one page, news of its kernel, and a plain sentence to all else."""

import logging
from asyncio import sleep
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated
from voila.tornado.handler import TornadoVoilaHandler

from metseg.serve.dashboard.guarded import Guarded
from metseg.serve.faults import where

TEMPLATE = Path(__file__).with_name("template")
_RETRY_SECONDS = 60
_LEAVING_SECONDS = 0.7
_log = logging.getLogger(__name__)
_pages = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True)


def log_failure(kind: str) -> str:
    """Logs what kind of error kept the page from being made; for its template, where it leaves nothing."""
    _log.error("the dashboard could not be started: %s", kind)
    return ""


class PageHandler(Guarded, TornadoVoilaHandler):
    """The dashboard's page. Its head is sent before a kernel is there, so that something is seen at once."""

    async def prepare(self) -> None:
        await super().prepare(_redirect_to_login=False)

    @authenticated
    async def get(self, path: str = "") -> None:
        if path:
            raise HTTPError(404)
        if not self.kernel_manager.has_room():
            await sleep(_LEAVING_SECONDS)  # who reloads gives a seat up a moment after asking for one
            if not self.kernel_manager.has_room():
                raise HTTPError(503)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.write(_pages.get_template("shell.html").render())
        await self.flush()
        try:
            async for html in self.get_generator():
                self.write(html)
        except Exception as error:  # half a page is out, so the sentence has to follow on it
            full = isinstance(error, HTTPError) and error.status_code == 503
            if not full:
                self.log.error("the dashboard's page could not be made: %s", where(error))
            self.write(self._sentence(503 if full else 500))

    def write_error(self, status_code: int, **_) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        if status_code == 503:
            self.set_header("Retry-After", str(_RETRY_SECONDS))
        self.finish(_pages.get_template("head.html").render() + self._sentence(status_code))

    def _sentence(self, status_code: int) -> str:
        page = _pages.get_template("sentence.html")
        return page.render(status=status_code, retry=_RETRY_SECONDS, home=self.base_url)


class KernelHandler(Guarded, APIHandler):
    """Tells a page that lost its connection whether its kernel is still there."""

    @authenticated
    async def get(self, kernel_id: str) -> None:
        if kernel_id not in self.kernel_manager:
            raise HTTPError(404)
        self.finish({"id": kernel_id})


class EndHandler(Guarded, APIHandler):
    """A page that is closed gives its kernel up."""

    def check_xsrf_cookie(self) -> None:
        """The kernel's id is a secret of the page, so nobody else's page can send this."""

    @authenticated
    async def post(self, kernel_id: str) -> None:
        await self.kernel_manager.shutdown_kernel(kernel_id)
        self.set_status(204)
