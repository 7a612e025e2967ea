"""The way to a source that may lead to allowed addresses only, or anywhere."""

from __future__ import annotations

import os

from streamqa.capture.reach import Reach
from streamqa.capture.relay import Relay
from streamqa.capture.resolve import check_url
from streamqa.errors import NotAllowed, SourceError, SourceRefused


class Passage:
    """For one source and its thread. `open` before each connection, `close` after it.

    With a reach, the address is checked at each `open`, and http and https go through a relay, which holds
    redirections, playlists and names that change their address to what is allowed. RTSP does not redirect: FFmpeg
    would, but `rtsp` is not among the protocols that `links` lets it go on to. What is left: rtsp, rtsps, rtmp and
    rtmps resolve the name once more than the check did, so that whoever owns it could give two different answers.
    """

    def __init__(self, reach: Reach | None, timeout_s: float) -> None:
        self._reach = reach
        self._timeout_s = timeout_s
        self._relay: Relay | None = None

    def open(self, url: str, name: str) -> str:
        """The proxy by which FFmpeg is to open `url`, which messages call `name`; "": none.

        Raises:
            SourceRefused: it leads to an address that is not allowed.
        """
        self.close()
        if self._reach is None:
            return ""
        try:
            check_url(self._reach, url)
            if not url.lower().startswith(("http:", "https:")):
                return ""
            if os.environ.get("no_proxy"):  # FFmpeg connects to these directly (measured)
                raise SourceRefused(
                    "the environment variable no_proxy is set, so FFmpeg would go around the check of addresses; "
                    "unset it"
                )
            self._relay = Relay(self._reach, self._timeout_s)
            return self._relay.start()
        except (NotAllowed, SourceRefused) as error:
            raise SourceRefused(f"{name}: {error}") from None

    def why(self, error: SourceError, name: str) -> SourceError:
        """`error`, or, where the relay refused something, that."""
        refusal = self._relay.refusal if self._relay is not None else ""
        return SourceRefused(f"{name}: leads to where it may not: {refusal}") if refusal else error

    def close(self) -> None:
        """Cut its connections; may be called twice."""
        if self._relay is not None:
            self._relay.close()
            self._relay = None
