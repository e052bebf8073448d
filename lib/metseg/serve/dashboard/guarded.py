"""What all handlers of the dashboard have: who is refused before anything else, what of a fault is told."""

from tornado.web import HTTPError

from metseg.serve.faults import where


class Guarded:
    """Refuses what a page of another site made a browser send, and what comes by a foreign name.

    It logs where a fault was; tornado would add its text and the request, token included.
    """

    async def prepare(self, **options) -> None:
        door, headers = self.settings["door"], self.request.headers
        if not door.knows(headers.get("host", "")):
            raise HTTPError(421)
        if door.is_foreign(headers):
            raise HTTPError(403)
        self.set_header("X-Content-Type-Options", "nosniff")
        await super().prepare(**options)

    def log_exception(self, kind, error, trace) -> None:
        if not isinstance(error, HTTPError):
            self.log.error("a request failed: %s", where(error))
