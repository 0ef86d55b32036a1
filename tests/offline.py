"""Refuses connections to other machines: tests need none, and must not wait for any."""

import sys

_LOCAL = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "::", ""}
_ADDRESS = {"socket.connect": 1, "socket.sendto": 1}
_NAME = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0}


def block():
    """Refuse them from now on, in this process."""
    sys.addaudithook(_refuse)


def _refuse(event, args):
    if event in _ADDRESS:
        address = args[_ADDRESS[event]]
        host = address[0] if isinstance(address, tuple) else ""  # else a Unix socket
    elif event in _NAME:
        host = args[_NAME[event]]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if isinstance(host, str) and host not in _LOCAL:
        raise RuntimeError(f"{event}: tests must not reach {host!r}.")
