"""Who is let in to the dashboard: whoever has the token in the address, then a cookie."""

import hmac

from jupyter_server.auth import User
from jupyter_server.auth.identity import PasswordIdentityProvider
from tornado.web import RequestHandler

from metseg.serve.listening import is_local
from metseg.serve.tokens import Guesses


class Visitors(PasswordIdentityProvider):
    """Compares tokens in constant time and bounds guesses; jupyter_server alone does neither."""

    def __init__(self, **options):
        super().__init__(**options)
        self._guesses = Guesses()

    async def get_user_token(self, handler: RequestHandler) -> User | None:
        given, address = self.get_token(handler), handler.request.connection.context.address[0]
        if is_local(address):  # a proxy may say whom it speaks for; a stranger could say anything
            address = handler.request.remote_ip
        if not given or not self.token or self._guesses.is_waiting(address):
            return None
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            self._guesses.wrong(address)
            return None
        return await super().get_user_token(handler)
