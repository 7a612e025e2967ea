"""Why a connection failed, where FFmpeg says no more than "Input/output error": names and certificates."""

from __future__ import annotations

import socket
import ssl

from streamqa.capture.links import authorities
from streamqa.errors import SourceError, SourceRefused, SourceUnavailable


def name_problem(name: str, host: str, port: int) -> SourceError | None:
    """What is wrong with the name of `host`, told of the source `name`; None: it has an address."""
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter: a name with an empty or too long part
        return SourceUnavailable(f"{name}: no address is known for the host {host!r} (DNS); check its name")
    return None


def certificate_problem(name: str, host: str, port: int, timeout_s: float) -> SourceError | None:
    """Why the server there is not trusted, told of the source `name`; None: that is not what is wrong.

    Costs a connection of its own, and at most `timeout_s` for each of its steps.
    """
    try:
        context = ssl.create_default_context(cafile=authorities())
        with (
            socket.create_connection((host, port), timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return None
    except FileNotFoundError:
        return SourceRefused(
            f"{name}: this machine has no list of trusted certificates; install ca-certificates, name a file in "
            "SSL_CERT_FILE, or, in the configuration, set tls_verify: false"
        )
    except ssl.SSLCertVerificationError as error:
        return SourceRefused(
            f"{name}: its certificate cannot be trusted: {error.verify_message}; name the file of its authority in "
            "SSL_CERT_FILE, or, in the configuration, set tls_verify: false"
        )
    except ssl.SSLError:
        return SourceUnavailable(f"{name}: no TLS is spoken there; check the scheme and the port")
    except (OSError, ValueError):
        return None
