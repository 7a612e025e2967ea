"""Clips damaged in ways that disks, networks and half-finished copies damage them. Pure: the seed says all."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable


def truncated(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flipped(data: bytes, rng: random.Random) -> bytes:
    """From one bit to a few hundred, anywhere, also in the container's own tables."""
    wrong = bytearray(data)
    for _ in range(round(2 ** rng.uniform(0, 9))):
        wrong[rng.randrange(len(wrong))] ^= 1 << rng.randrange(8)
    return bytes(wrong)


def reordered(data: bytes, rng: random.Random) -> bytes:
    """Some of its parts, boxes or packets or plain blocks, have changed places; some are missing or twice there."""
    parts = _parts(data, rng)
    for _ in range(rng.randint(1, 3)):
        one, other = rng.randrange(len(parts)), rng.randrange(len(parts))
        match rng.randrange(3):
            case 0:
                parts[one], parts[other] = parts[other], parts[one]
            case 1:
                parts[one] = b""
            case _:
                parts.insert(one, parts[other])
    return b"".join(parts)


def overwritten(data: bytes, rng: random.Random) -> bytes:
    """A block of it is zeros, as after a crash of the machine that wrote it."""
    size = min(len(data), rng.choice((512, 4096, 16384)))
    begin = rng.randrange(len(data) - size + 1)
    return data[:begin] + bytes(size) + data[begin + size :]


KINDS: tuple[Callable[[bytes, random.Random], bytes], ...] = (truncated, flipped, reordered, overwritten)


def _parts(data: bytes, rng: random.Random) -> list[bytes]:
    if data[:1] == b"G" and len(data) % 188 == 0:
        size = 188  # the packets of a transport stream
    elif data[4:8] == b"ftyp" and rng.random() < 0.7:
        return _boxes(data)
    else:
        size = rng.choice((64, 512, 4096))
    return [data[at : at + size] for at in range(0, len(data), size)]


def _boxes(data: bytes) -> list[bytes]:
    """The boxes of an mp4, and within its index those one floor down."""
    found, at = [], 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            found.append(data[at : at + 8])
            at += 8
            continue
        found.append(data[at : at + max(8, size)])
        at += max(8, size)
    return found
