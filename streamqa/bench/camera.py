"""An RTSP camera made of a clip: for tests and benchmarks of capture, with its faults on command.

    python -m streamqa.bench.camera CLIP [--port N] [--user NAME --password WORD] …

It prints `port N` when it listens; then each line on its standard input is a command, answered by one line. A process
of its own, so that it can be killed (a camera without power) or stopped (SIGSTOP: a network that swallows all).
The paths /cam, /cam0, /cam1… are cameras that show the same clip. Commands, where CAMERA is one of these, else all:

    stall [CAMERA]      the media stop, the connection stays; `resume` goes on with the next keyframe
    freeze [CAMERA]     the last keyframe over and over, while the timestamps go on; until `resume`
    drop P [CAMERA]     lose this share of the packets; 0 ends it
    corrupt P [CAMERA]  flip a bit in this share of the packets; 0 ends it
    jump S [CAMERA]     the RTP timestamps jump by so many seconds
    clock S [CAMERA]    the camera's clock is wrong by so many seconds, in its next sender reports
    close [CAMERA]      close the connections
    refuse, accept      stop listening; listen again
    stats               counts, as JSON

A viewer that is slow to read gets the pictures late, as from a camera that waits for its network: no more than
asyncio's 64 KiB wait for each. What UDP cannot take at once is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import ssl
import stat
import struct
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from streamqa.bench.rtp import TICKS_PER_S, Clip, Showing, Viewer, read_clip
from streamqa.bench.rtsp import Desk, Guard, Request, Route, parse

CAMERAS = ("cam", *(f"cam{number}" for number in range(100)))
_STAGGER_S = 0.37  # between the phases of two cameras that are joined in the middle


@dataclass(slots=True)
class Faults:
    """What is wrong with one camera now."""

    clock_s: float
    stalled: bool = False
    frozen: bool = False
    drop: float = 0.0
    corrupt: float = 0.0
    jump_s: float = 0.0


@dataclass(slots=True)
class Stats:
    """What happened so far."""

    accepted: int = 0
    accepted_s: float = 0.0  # the system's monotonic clock, when a client connected last
    played: int = 0
    played_s: float = 0.0  # the same, when one began to be sent pictures last
    playing: int = 0
    pictures: int = 0
    lost: int = 0  # packets that the network did not take at once (UDP)
    late_ms: float = 0.0  # the picture that was sent latest after its time
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Habits:
    """How the cameras behave when nothing is wrong."""

    join: str = (
        "keyframe"  # where a viewer comes in: with the clip's beginning, or in the "middle" of what is on
    )
    report_every_s: float = 5.0  # RTCP sender reports: at once and then so often; 0 for none
    frames: int = -1  # the media stop after so many pictures
    clock_s: float = 0.0  # how wrong its clock is


@dataclass(slots=True, eq=False)
class Connection:
    """One client."""

    writer: asyncio.StreamWriter
    camera: str = ""
    route: Route | None = None
    playing: asyncio.Task[None] | None = None

    def end(self) -> None:
        """Close it; what was not sent yet is lost."""
        if self.playing is not None:
            self.playing.cancel()
        self.writer.close()


@dataclass(slots=True, eq=False)
class Cameras:
    """One clip, shown by many cameras at one port."""

    clip: Clip
    desk: Desk
    habits: Habits
    rng: random.Random
    port: int = 0  # 0: any, and from then on always the same
    tls: ssl.SSLContext | None = None
    stats: Stats = field(init=False, default_factory=Stats)
    _faults: dict[str, Faults] = field(init=False)
    _began_s: float = field(init=False, default_factory=time.monotonic)
    _connections: set[Connection] = field(init=False, default_factory=set)
    _server: asyncio.Server | None = field(init=False, default=None)
    _udp: tuple[socket.socket, socket.socket] = field(init=False)

    def __post_init__(self) -> None:
        self._faults = {camera: Faults(self.habits.clock_s) for camera in self.desk.cameras}
        self._udp = (_udp_socket(), _udp_socket())

    async def listen(self) -> None:
        """Take connections; at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def command(self, line: str) -> str:
        """Do what a line says; what to answer.

        Raises:
            ValueError: it says nothing that a camera can do.
        """
        verb, *words = line.split()
        named = [word.strip("/") for word in words if word.strip("/") in self._faults]
        amount = float(words[0]) if words and words[0] not in named else 0.0
        match verb:
            case "refuse" if self._server is not None:
                self._server.close()
                self._server = None
            case "accept" if self._server is None:
                await self.listen()
            case "close":
                for one in [one for one in self._connections if not named or one.camera in named]:
                    one.end()
            case "stats":
                self.stats.cpu_s = time.process_time()
                return json.dumps(asdict(self.stats))
            case _:
                for camera in named or self._faults:
                    _change(self._faults[camera], verb, amount)
        return f"ok {line}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one client until it goes."""
        self.stats.accepted += 1
        self.stats.accepted_s = time.monotonic()
        one = Connection(writer)
        self._connections.add(one)
        # A client that breaks off, or talks no RTSP, or sends a head without end.
        with suppress(EOFError, OSError, ValueError, asyncio.LimitOverrunError):
            while (request := await _request(reader)) is not None:
                await self._answer(one, request)
                if request.method == "TEARDOWN":
                    break
        one.end()
        self._connections.discard(one)

    async def _answer(self, one: Connection, request: Request) -> None:
        ports = self._udp[0].getsockname()[1], self._udp[1].getsockname()[1]
        answer, route = self.desk.answer(request, ports)
        one.route = route or one.route
        one.camera = request.camera
        one.writer.write(answer)
        await one.writer.drain()
        wanted = request.method == "PLAY" and answer.startswith(b"RTSP/1.0 200")
        if wanted and one.route is not None and one.playing is None:
            one.playing = asyncio.create_task(self._play(one, one.route))

    async def _play(self, one: Connection, route: Route) -> None:
        self.stats.played += 1
        self.stats.played_s = time.monotonic()
        self.stats.playing += 1
        try:
            with suppress(OSError):  # it has gone
                await self._pictures(one, route)
        finally:
            self.stats.playing -= 1

    async def _pictures(self, one: Connection, route: Route) -> None:
        """The clip over and over, each picture when its time has come."""
        faults, viewer = self._faults[one.camera], Viewer(self.rng)
        showing = Showing(self.clip.pictures[0].payloads)
        begin_s, report_s, left = time.monotonic(), 0.0, self.habits.frames
        for due_s, ticks, picture in self.clip.timeline(self._joined_at(one.camera, begin_s)):
            if left == 0:
                return  # the connection stays
            await asyncio.sleep(begin_s + due_s - time.monotonic())
            payloads = showing.of(picture, faults.stalled, faults.frozen)
            if not payloads:
                continue
            now_s, jump = time.monotonic() - begin_s, round(faults.jump_s * TICKS_PER_S)
            if self.habits.report_every_s and now_s >= report_s:
                clock_ns = time.time_ns() + round(faults.clock_s * 1e9)
                self._send(one, route, [viewer.report(clock_ns, round(now_s * TICKS_PER_S) + jump)], True)
                report_s = now_s + self.habits.report_every_s
            self._send(one, route, viewer.packets(payloads, ticks + jump, faults.drop, faults.corrupt))
            await one.writer.drain()
            self.stats.pictures += 1
            self.stats.late_ms = max(self.stats.late_ms, (now_s - due_s) * 1e3)
            left -= 1

    def _joined_at(self, camera: str, now_s: float) -> float:
        """Where in the clip a viewer comes in."""
        if self.habits.join != "middle":
            return 0.0
        return now_s - self._began_s + _STAGGER_S * CAMERAS.index(camera)

    def _send(self, one: Connection, route: Route, packets: list[bytes], report: bool = False) -> None:
        to = route.reports if report else route.media
        if not route.udp:
            framed = (struct.pack(">cBH", b"$", to, len(packet)) + packet for packet in packets)
            one.writer.write(b"".join(framed))
            return
        host = one.writer.get_extra_info("peername")[0]
        for packet in packets:
            try:
                self._udp[report].sendto(packet, (host, to))
            except OSError:  # full, or nobody there: lost, as on any network
                self.stats.lost += 1


def _change(faults: Faults, verb: str, amount: float) -> None:
    match verb:
        case "stall":
            faults.stalled = True
        case "freeze":
            faults.frozen = True
        case "resume":
            faults.stalled = faults.frozen = False
        case "drop" | "corrupt" if 0 <= amount <= 1:
            setattr(faults, verb, amount)
        case "jump":
            faults.jump_s += amount
        case "clock":
            faults.clock_s = amount
        case _:
            raise ValueError(f"no such command: {verb}")


async def _request(reader: asyncio.StreamReader) -> Request | None:
    """The next request; between requests stand the client's own reports, which nobody reads. None at the end."""
    while first := await reader.read(1):
        if first == b"$":
            head = await reader.readexactly(3)
            await reader.readexactly(struct.unpack(">xH", head)[0])
            continue
        request = parse(first + await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(request.body_bytes)
        return request
    return None


def _udp_socket() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setblocking(False)
    one.bind(("127.0.0.1", 0))
    return one


async def _obey(cameras: Cameras) -> None:
    """Commands from standard input, until whoever started this has gone: with its pipe, the cameras go, too."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()  # a person or a test writes it, and waits for each answer

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        if stat.S_ISFIFO(os.fstat(0).st_mode):
            os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        line = (await lines.get()).strip()
        if not line:
            continue
        try:
            answer = await cameras.command(line)
        except (ValueError, OSError) as error:
            answer = f"error {error}"
        print(answer, flush=True)


async def serve(cameras: Cameras) -> None:
    """Listen, say where, and obey."""
    await cameras.listen()
    print("port", cameras.port, flush=True)
    await _obey(cameras)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="An RTSP camera that plays a clip (H.264 in mp4).")
    parser.add_argument("clip")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--transport", choices=["tcp", "udp", "both"], default="both")
    parser.add_argument("--join", choices=["keyframe", "middle"], default="keyframe")
    parser.add_argument("--frames", type=int, default=-1, help="the media stop after so many")
    parser.add_argument(
        "--reports", type=float, default=5.0, help="seconds between sender reports; 0 for none"
    )
    parser.add_argument("--clock-offset", type=float, default=0.0, help="seconds that the clock is wrong by")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="speak rtsps")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tls = None
    if given.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*given.tls)
    clip = read_clip(given.clip)
    transports = {"tcp", "udp"} if given.transport == "both" else {given.transport}
    desk = Desk(clip.sdp, frozenset(CAMERAS), Guard(given.user, given.password), frozenset(transports))
    habits = Habits(given.join, given.reports, given.frames, given.clock_offset)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(Cameras(clip, desk, habits, random.Random(given.seed), given.port, tls)))


if __name__ == "__main__":
    main()
