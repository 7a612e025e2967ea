"""A clip as RTP: cut into packets once, then given to any number of connections, each with numbers of its own.

The cutting is FFmpeg's; what differs between two viewers of one camera is twelve bytes a packet, so sixteen
cameras cost one clip's memory and little processor. Nothing here reads a clock or a socket.
"""

from __future__ import annotations

import base64
import random
import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
from av.packet import Packet
from av.video.stream import VideoStream

TICKS_PER_S = 90_000
_TYPE = 96
_PACKET_BYTES = 1400
_UNIX_IN_NTP_S = 2_208_988_800  # NTP counts from 1900

# The second byte of an RTP header (marker and payload type), and what follows the header.
Payload: TypeAlias = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class ClipPicture:
    """One picture of a clip, ready to be sent."""

    due_s: float  # when a camera would send it, after the clip's beginning
    ticks: int  # when it is shown, after the clip's beginning
    is_key: bool
    payloads: tuple[Payload, ...]


@dataclass(frozen=True)
class Clip:
    """A clip without sound, in the order of decoding."""

    pictures: tuple[ClipPicture, ...]
    period_ticks: int  # its length: when it begins again
    sdp: str

    def timeline(self, from_s: float = 0.0) -> Iterator[tuple[float, int, ClipPicture]]:
        """Its pictures for ever, from `from_s` on: (due in s after the start, shown in ticks after it, picture)."""
        period_s = self.period_ticks / TICKS_PER_S
        rounds, into_s = divmod(from_s, period_s)
        index = bisect_left([picture.due_s for picture in self.pictures], into_s)
        lap = int(rounds)
        while True:
            for picture in self.pictures[index:]:
                shown = picture.ticks + lap * self.period_ticks - round(from_s * TICKS_PER_S)
                yield picture.due_s + lap * period_s - from_s, shown, picture
            index, lap = 0, lap + 1


class _Packets:
    """A file to write to that keeps each write apart: FFmpeg's RTP muxer makes one per packet."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> tuple[Payload, ...]:
        """The RTP packets since the last call, without their headers; FFmpeg's own reports are left out."""
        parts, self._parts = self._parts, []
        return tuple((part[1], part[12:]) for part in parts if part[1] & 0x7F == _TYPE)


def read_clip(path: str | Path) -> Clip:
    """Cut an H.264 clip in mp4 into RTP packets.

    The packets are given to the muxer as they lie in the mp4: with avcC extradata it splits them itself, and a
    filter to Annex B before it would make garbage of them (measured).

    Raises:
        ValueError: no H.264 in mp4, or no picture.
        FFmpegError, OSError: the file cannot be read.
    """
    packets = _Packets()
    options = {"packetsize": str(_PACKET_BYTES), "payload_type": str(_TYPE)}
    with av.open(str(path)) as clip, av.open(packets, "w", format="rtp", options=options) as muxer:
        stream = clip.streams.video[0]
        extra = stream.codec_context.extradata
        if stream.codec_context.name != "h264" or not extra or extra[0] != 1:
            raise ValueError(f"{path}: a camera plays H.264 in mp4, not {stream.codec_context.name}")
        target = muxer.add_stream_from_template(stream)
        pictures: list[ClipPicture] = []
        first: int | None = None
        end = 0
        for packet in clip.demux(stream):
            if packet.dts is None or packet.pts is None:
                continue
            due, shown, after = _ticks(stream, packet)
            first = due if first is None else first  # below 0 where B-frames wait for their turn
            end = after - first
            is_key = packet.is_keyframe
            packet.stream = target
            muxer.mux(packet)
            pictures.append(ClipPicture((due - first) / TICKS_PER_S, shown, is_key, packets.taken()))
    if not pictures:
        raise ValueError(f"{path}: there is no picture in it")
    return Clip(tuple(pictures), end, _sdp(extra))


def _ticks(stream: VideoStream, packet: Packet[VideoStream]) -> tuple[int, int, int]:
    """When a packet is sent, when its picture is shown, and when the next one is sent."""
    assert stream.time_base is not None
    assert packet.dts is not None
    assert packet.pts is not None
    per_unit = Fraction(stream.time_base) * TICKS_PER_S
    after = packet.dts + (packet.duration or 0)
    return round(packet.dts * per_unit), round(packet.pts * per_unit), round(after * per_unit)


def _sdp(avcc: bytes) -> str:
    """The description of a stream, with the parameter sets of its avcC extradata."""
    sets, at = [], 5
    for mask in (0x1F, 0xFF):  # how many sequence sets; how many picture sets
        count, at = avcc[at] & mask, at + 1
        for _ in range(count):
            size = struct.unpack_from(">H", avcc, at)[0]
            sets.append(base64.b64encode(avcc[at + 2 : at + 2 + size]).decode())
            at += 2 + size
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=camera",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        f"m=video 0 RTP/AVP {_TYPE}",
        f"a=rtpmap:{_TYPE} H264/{TICKS_PER_S}",
        f"a=fmtp:{_TYPE} packetization-mode=1; sprop-parameter-sets={','.join(sets)}",
        "a=control:track1",
        "",
    ]
    return "\r\n".join(lines)


@dataclass(slots=True)
class Viewer:
    """One connection's own numbers: its identity, where its counting began, and what it was sent."""

    rng: random.Random
    identity: int = field(init=False)
    sequence: int = field(init=False)
    base: int = field(init=False)  # RTP time of the connection's first moment
    sent: int = field(init=False, default=0)
    sent_bytes: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.identity = self.rng.getrandbits(32)
        self.sequence = self.rng.getrandbits(16)
        self.base = self.rng.getrandbits(32)

    def packets(
        self, payloads: tuple[Payload, ...], ticks: int, drop: float = 0.0, corrupt: float = 0.0
    ) -> list[bytes]:
        """The packets of one picture; of these, a share is lost and in a share one byte is wrong."""
        made = []
        stamp = self.base + ticks & 0xFFFFFFFF
        for kind, payload in payloads:
            number, self.sequence = self.sequence, self.sequence + 1 & 0xFFFF
            if drop and self.rng.random() < drop:
                continue
            if corrupt and self.rng.random() < corrupt:
                payload = _damaged(payload, self.rng)
            made.append(struct.pack(">BBHII", 0x80, kind, number, stamp, self.identity) + payload)
        self.sent += len(made)
        self.sent_bytes += sum(map(len, made))
        return made

    def report(self, wall_ns: int, ticks: int) -> bytes:
        """A sender report: `ticks` after the connection began, the camera's clock showed `wall_ns` (UNIX)."""
        seconds, rest_ns = divmod(wall_ns, 1_000_000_000)
        clock = (seconds + _UNIX_IN_NTP_S & 0xFFFFFFFF) << 32 | (rest_ns << 32) // 1_000_000_000
        stamp = self.base + ticks & 0xFFFFFFFF
        counts = self.sent & 0xFFFFFFFF, self.sent_bytes & 0xFFFFFFFF
        return struct.pack(">BBHIQIII", 0x80, 200, 6, self.identity, clock, stamp, *counts)


def _damaged(payload: bytes, rng: random.Random) -> bytes:
    wrong = bytearray(payload)
    wrong[rng.randrange(len(wrong))] ^= 1 << rng.randrange(8)
    return bytes(wrong)


@dataclass(slots=True)
class Showing:
    """What a viewer is shown: every picture in turn, none, or one for ever; after a fault first a keyframe."""

    still: tuple[Payload, ...]  # the last keyframe
    whole: bool = True  # nothing was left out since

    def of(self, picture: ClipPicture, stalled: bool, frozen: bool) -> tuple[Payload, ...]:
        """What goes out in this picture's turn; empty for nothing."""
        if stalled or frozen:
            self.whole = False
        elif picture.is_key:
            self.still, self.whole = picture.payloads, True
        if stalled:
            return ()
        if frozen:
            return self.still
        return picture.payloads if self.whole else ()
