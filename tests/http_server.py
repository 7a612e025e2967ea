"""An HTTP server that is a camera: MJPEG, HLS and files, and everything that can go wrong with them.

/mjpeg         multipart JPEG, in real time, for ever
/short         the same, which ends after 10 pictures
/cut           the same, which breaks off within the tenth
/live.m3u8     HLS whose segments appear one after the other; so late that three are there at the start
/stopped.m3u8  the same, of which nothing new comes after the start
/vod.m3u8      HLS of a recording
/clip.mp4      a file, with ranges
/secret/...    all of it again, behind admin:s3cret
/hang          takes the request and says nothing
/trickle       a byte of its answer every 50 ms
all else       404
"""

from __future__ import annotations

import base64
import io
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import av
from PIL import Image as Pillow

if TYPE_CHECKING:
    from streamqa.types import Image

FPS = 30
SEGMENT_S = 1
_ADMIN = "Basic " + base64.b64encode(b"admin:s3cret").decode()


def jpegs(images: Sequence[Image]) -> list[bytes]:
    made = []
    for image in images:
        buffer = io.BytesIO()
        Pillow.fromarray(image).save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made


def segments(clip: Path, folder: Path, times: int) -> list[Path]:
    """The clip so many times over as segments of MPEG-TS, a second each where its keyframes allow it."""
    options = {"hls_time": str(SEGMENT_S), "hls_list_size": "0"}
    with av.open(str(folder / "vod.m3u8"), "w", format="hls", options=options) as to:
        stream, offset = None, 0
        for _ in range(times):
            with av.open(str(clip)) as container:
                origin = container.streams.video[0]
                stream = stream or to.add_stream_from_template(origin)
                end = offset
                for packet in container.demux(origin):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    end = packet.dts + packet.duration
                    packet.stream = stream
                    to.mux(packet)
                offset = end
    return sorted(folder.glob("*.ts"), key=lambda path: int(re.findall(r"\d+", path.stem)[-1]))


class HttpCamera:
    """Serves until `close`, in threads of this process; one of them per connection."""

    def __init__(self, clip: Path, images: Sequence[Image], folder: Path) -> None:
        self.clip, self.jpegs = clip, jpegs(images)
        self.segments = segments(clip, folder, 10)
        self.folder = folder
        self.began_s = time.monotonic()
        self.closing = threading.Event()
        handler = type("Handler", (Handler,), {"camera": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def url(self, path: str, user: str = "") -> str:
        return f"http://{user}{'@' * bool(user)}127.0.0.1:{self.port}/{path.lstrip('/')}"

    def disconnect(self) -> None:
        """Break all connections off."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.closing.set()
        self.disconnect()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    camera: ClassVar[HttpCamera]

    def setup(self) -> None:
        super().setup()
        self.camera.connections.add(self.connection)

    def finish(self) -> None:
        self.camera.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        folder, _, rest = path.rpartition("/")
        if folder == "secret" and self.headers.get("Authorization") != _ADMIN:
            self._say(401, b"", "text/plain", ("WWW-Authenticate", 'Basic realm="camera"'))
            return
        answers: dict[str, Callable[[], None]] = {
            "mjpeg": self._mjpeg,
            "short": lambda: self._mjpeg(10),
            "cut": lambda: self._mjpeg(10, cut=True),
            "live.m3u8": self._live,
            "stopped.m3u8": lambda: self._live(moves=False),
            "hang": lambda: self._trickle(b""),
            "trickle": lambda: self._trickle(b"HTTP/1.0 200 OK\r\n" + b"X-Padding: 1\r\n" * 10_000),
        }
        file = {"clip.mp4": self.camera.clip}.get(rest, self.camera.folder / rest)
        with suppress(OSError):  # the client has gone, or is made to
            if rest in answers:
                answers[rest]()
            elif folder in ("", "secret") and file.is_file():
                self._file(file)
            else:
                self._say(404, b"", "text/plain")

    def _say(self, status: int, body: bytes, kind: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _file(self, path: Path) -> None:
        data = path.read_bytes()
        kind = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t"}.get(path.suffix, "video/mp4")
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self._say(200, data, kind, ("Accept-Ranges", "bytes"))
            return
        begin, end = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        self._say(206, data[begin : end + 1], kind, ("Content-Range", f"bytes {begin}-{end}/{len(data)}"))

    def _mjpeg(self, pictures: int = 10**9, cut: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
        self.end_headers()
        begin_s = time.monotonic()
        for number in range(pictures):
            if self.camera.closing.wait(max(0.0, begin_s + number / FPS - time.monotonic())):
                return
            jpeg = self.camera.jpegs[number % len(self.camera.jpegs)]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            part = head + jpeg + b"\r\n"
            self.wfile.write(part[: len(head) + len(jpeg) // 2] if cut and number + 1 == pictures else part)

    def _live(self, moves: bool = True) -> None:
        """Three segments are listed at any time; the last one has just been finished."""
        first = int((time.monotonic() - self.camera.began_s) / SEGMENT_S) if moves else 0
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{SEGMENT_S}"]
        lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}")
        for path in self.camera.segments[first : first + 3]:
            lines += [f"#EXTINF:{SEGMENT_S:.3f},", path.name]
        self._say(200, "\n".join([*lines, ""]).encode(), "application/vnd.apple.mpegurl")

    def _trickle(self, data: bytes) -> None:
        for byte in data:
            self.wfile.write(bytes([byte]))
            if self.camera.closing.wait(0.05):
                return
        self.camera.closing.wait(60)
