"""Takes the port, before anything heavy is imported or loaded: a port in use is then told at once."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass, field

from streamqa.errors import ConfigError
from streamqa.server.locks import Locks


@dataclass(frozen=True, slots=True)
class Door:
    """A bound and listening socket, the host name that it was bound under, and what keeps strangers out."""

    host: str
    socket: socket.socket
    locks: Locks = field(default_factory=Locks)

    @property
    def port(self) -> int:
        """The port, also where 0 was asked for."""
        port: int = self.socket.getsockname()[1]
        return port

    def close(self) -> None:
        """Give the port back; may be called twice."""
        self.socket.close()


def listen(host: str, port: int, locks: Locks | None = None) -> Door:
    """Bind `host`:`port` (0: any free port) and listen.

    Raises:
        ConfigError: the port is in use or needs more rights, or the host is none of this machine.
    """
    if not 0 <= port <= 65535:  # beyond, the system would quietly take the remainder
        raise ConfigError(f"serve.port must be 0 to 65535, got {port}")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.create_server(address[:2], family=family, backlog=512)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            what = (
                f"port {port} on {host} is in use; stop the program that has it, or choose another serve.port"
            )
        elif error.errno == errno.EACCES:
            what = f"port {port} on {host} needs more rights; choose a serve.port above 1023"
        else:
            what = f"cannot listen on {host}:{port}: {error.strerror or error}; choose another serve.host"
        raise ConfigError(what) from error
    # Connections inherit it. asyncio sets it only on sockets whose protocol number says TCP; this one's is 0, "the
    # usual one", and small messages waited up to 40 ms for the client's delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Door(host, listening, locks or Locks())
