"""A small RTSP camera for tests: a clip, looped in real time, over TCP, behind a Digest password if one is given.

    python tests/rtsp_server.py CLIP [--port N] [--user NAME --password WORD] [--frames N]

It prints `port N` when it listens. A process of its own, so that a test can kill it (a camera that loses power) or
stop it (SIGSTOP: a network that swallows everything). The clip is H.264 without B-frames, in mp4.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import re
import secrets
import struct
from collections.abc import AsyncIterator
from fractions import Fraction

import av

PATH = "/cam"
STEPS = {"OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN", "GET_PARAMETER"}


class Packetiser:
    """FFmpeg's RTP muxer, writing into a list.

    The packets are given as they lie in the mp4: with avcC extradata the muxer itself splits them into NAL units,
    and a filter to Annex B before it would make garbage of them.
    """

    def __init__(self, template: av.VideoStream) -> None:
        self._parts: list[bytes] = []
        options = {"packetsize": "1400", "payload_type": "96"}
        self._container = av.open(self, "w", format="rtp", options=options)
        self._stream = self._container.add_stream_from_template(template)

    def write(self, data: bytes) -> int:
        """Called by the muxer, once per RTP or RTCP packet."""
        self._parts.append(bytes(data))
        return len(data)

    def packets(self, packet: av.Packet) -> list[tuple[int, bytes]]:
        """The RTP (channel 0) and RTCP (channel 1) packets that carry one picture."""
        packet.stream = self._stream
        self._container.mux(packet)
        parts, self._parts = self._parts, []
        return [(1 if 200 <= part[1] <= 204 else 0, part) for part in parts]

    def close(self) -> None:
        self._container.close()


def describe(clip: str) -> str:
    """The SDP of a clip, with the parameter sets of its avcC extradata."""
    with av.open(clip) as container:
        data = container.streams.video[0].codec_context.extradata
    assert data is not None, "the clip has no avcC"
    sets, at = [], 6
    for count in (data[5] & 31, None):
        if count is None:
            count, at = data[at], at + 1
        for _ in range(count):
            size = struct.unpack(">H", data[at : at + 2])[0]
            sets.append(base64.b64encode(data[at + 2 : at + 2 + size]).decode())
            at += 2 + size
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=test",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "m=video 0 RTP/AVP 96",
        "a=rtpmap:96 H264/90000",
        f"a=fmtp:96 packetization-mode=1; sprop-parameter-sets={','.join(sets)}",
        "a=control:track1",
    ]
    return "\r\n".join(lines) + "\r\n"


async def paced(clip: str) -> AsyncIterator[tuple[av.VideoStream, av.Packet]]:
    """The packets of a clip, over and over, each when its time has come."""
    clock = asyncio.get_running_loop().time
    begin, offset = clock(), 0
    while True:
        with av.open(clip) as container:
            stream = container.streams.video[0]
            assert stream.time_base is not None
            end = offset
            for packet in container.demux(stream):
                if packet.dts is None or packet.pts is None:
                    continue
                packet.pts += offset
                packet.dts += offset
                end = packet.dts + (packet.duration or 0)
                delay = begin + float(packet.dts * Fraction(stream.time_base)) - clock()
                await asyncio.sleep(max(0.0, delay))
                yield stream, packet
            offset = end


def digest(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()


class Camera:
    """One server; every connection plays the clip from its start."""

    def __init__(self, clip: str, user: str, password: str, frames: int) -> None:
        self._clip, self._user, self._password, self._frames = clip, user, password, frames
        self._sdp = describe(clip)
        self._nonce = secrets.token_hex(8)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one client until it goes."""
        playing: asyncio.Task[None] | None = None
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                # Receiver reports may stand before the request; nobody reads them.
                start = max((head.rfind(step.encode() + b" ") for step in STEPS), default=0)
                method, url, headers = self._parse(head[max(0, start) :].decode("latin-1"))
                status, lines, body = self._answer(method, url, headers)
                reply = [f"RTSP/1.0 {status}", f"CSeq: {headers.get('cseq', '0')}", *lines, ""]
                if body:
                    reply[-1:] = ["Content-Type: application/sdp", f"Content-Length: {len(body)}", ""]
                writer.write(("\r\n".join(reply) + "\r\n" + body).encode())
                await writer.drain()
                if method == "PLAY" and status == "200 OK":
                    playing = asyncio.create_task(self._play(writer))
                if method == "TEARDOWN":
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if playing is not None:
                playing.cancel()
            writer.close()

    @staticmethod
    def _parse(text: str) -> tuple[str, str, dict[str, str]]:
        first, *rest = text.split("\r\n")
        method, url, _ = first.split(" ", 2)
        return (
            method,
            url,
            {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in rest)},
        )

    def _answer(self, method: str, url: str, headers: dict[str, str]) -> tuple[str, list[str], str]:
        if method == "OPTIONS":
            return "200 OK", [f"Public: {', '.join(sorted(STEPS))}"], ""
        if not self._may(method, headers.get("authorization", "")):
            ask = f'WWW-Authenticate: Digest realm="camera", nonce="{self._nonce}", algorithm=MD5'
            return "401 Unauthorized", [ask], ""
        if not re.match(r"rtsp://[^/]*" + PATH + r"(/|$)", url):
            return "404 Not Found", [], ""
        if method == "DESCRIBE":
            return "200 OK", [f"Content-Base: {url}/"], self._sdp
        lines = ["Session: 12345678"]
        if method == "SETUP":
            if "TCP" not in headers.get("transport", ""):
                return "461 Unsupported Transport", [], ""
            lines.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        return "200 OK", lines, ""

    def _may(self, method: str, authorization: str) -> bool:
        if not self._user:
            return True
        given = dict(re.findall(r'(\w+)="([^"]*)"', authorization))
        inner = digest(self._user, "camera", self._password)
        right = digest(inner, self._nonce, digest(method, given.get("uri", "")))
        return secrets.compare_digest(given.get("response", ""), right)

    async def _play(self, writer: asyncio.StreamWriter) -> None:
        packetiser: Packetiser | None = None
        count = 0
        try:
            async for stream, packet in paced(self._clip):
                packetiser = packetiser or Packetiser(stream)
                for channel, data in packetiser.packets(packet):
                    writer.write(struct.pack(">cBH", b"$", channel, len(data)) + data)
                await writer.drain()
                count += 1
                if count == self._frames:
                    return  # the connection stays, the media stop
        except ConnectionError:
            pass
        finally:
            if packetiser is not None:
                packetiser.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description="An RTSP camera that plays a clip.")
    parser.add_argument("clip")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--frames", type=int, default=-1, help="the media stop after so many")
    given = parser.parse_args()
    camera = Camera(given.clip, given.user, given.password, given.frames)
    server = await asyncio.start_server(camera.serve, "127.0.0.1", given.port)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
