"""The address that the service or the dashboard listens on."""

import ipaddress
import os
import socket
from contextlib import suppress

from metseg.base.errors import MetsegError


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens on an address; raises `MetsegError` where that cannot be."""
    if not host:
        raise MetsegError("the host is empty; name an address, such as 127.0.0.1, or 0.0.0.0 for all")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError, UnicodeError, TypeError) as error:
        number = getattr(error, "errno", None) or 0  # the error's own text names the address a second time
        reason = os.strerror(number) if number > 0 else "it is no address"
        raise MetsegError(
            f"cannot listen on {host}:{port} ({reason}); choose another host or port"
        ) from error
    listener.set_inheritable(True)  # for the processes of a service
    # asyncio does so by itself only for sockets made with their protocol's number. Without it an answer on a
    # connection that is kept waits 40 ms for the client to confirm its header.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def is_local(host: str) -> bool:
    """Returns whether only this machine reaches what listens on a host."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
