"""The webcams of a Linux machine and what they can do, asked of the kernel (V4L2) without a library.

The structures are those of `linux/videodev2.h`; their numbers hold on x86, ARM and RISC-V.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# How a device is asked: the open node, the request's number, its structure, which is filled in. Raises OSError.
Ioctl = Callable[[int, int, bytearray], object]

QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 0x80685600, 0xC0405602, 0xC02C564A, 0xC034564B
_CAPABILITY = struct.Struct("=16s32s32sIII12x")  # driver, card, bus, version, capabilities, device_caps
_FMTDESC = struct.Struct("=III32sI16x")  # index, type, flags, description, pixelformat
_FRMSIZE = struct.Struct("=III6I8x")  # index, pixelformat, type, and one size or a range of sizes
_FRMIVAL = struct.Struct("=IIIII6I8x")  # index, pixelformat, width, height, type, and one interval or a range
_CAPTURES, _HAS_DEVICE_CAPS = 0x1, 0x8000_0000
_VIDEO_CAPTURE, _DISCRETE = 1, 1
_MOST = 256  # entries of one list: a driver that never says "no more" is broken
_MOST_RATES = 32


@dataclass(frozen=True, slots=True)
class Mode:
    """A pixel format and size that a webcam has."""

    fourcc: str
    width: int
    height: int
    fps: tuple[float, ...]  # fastest first; empty if it does not say
    any_smaller: bool = False  # it scales: also sizes below this one


@dataclass(frozen=True, slots=True)
class Camera:
    """A webcam."""

    index: int  # as in webcam:0
    name: str = ""
    modes: tuple[Mode, ...] = ()
    problem: str = ""  # why it cannot be asked, and what to do


def list_cameras(ioctl: Ioctl | None = None, folder: str = "/dev") -> list[Camera]:
    """The webcams of this machine, by number. Nodes that give no pictures (metadata, output) are left out.

    A camera that another program uses can be listed all the same. `ioctl` is by default the kernel's.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    numbers = sorted(int(found[1]) for name in names if (found := re.fullmatch(r"video(\d{1,4})", name)))
    cameras = (_camera(os.path.join(folder, f"video{n}"), n, ioctl or _kernel) for n in numbers)
    return [camera for camera in cameras if camera is not None]


def _kernel(node: int, request: int, data: bytearray) -> object:
    from fcntl import ioctl  # not on Windows

    return ioctl(node, request, data, True)


def _camera(path: str, number: int, ioctl: Ioctl) -> Camera | None:
    try:
        node = os.open(path, os.O_RDWR | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return Camera(number, problem='permission denied; run: sudo usermod -aG video "$USER"')
        return Camera(number, problem=f"{error.strerror}; plug it in anew")
    try:
        data = bytearray(_CAPABILITY.size)
        ioctl(node, QUERYCAP, data)
        _, card, _, _, all_of_them, own = _CAPABILITY.unpack(data)
        if not (own if all_of_them & _HAS_DEVICE_CAPS else all_of_them) & _CAPTURES:
            return None
        return Camera(number, _text(card), tuple(_modes(node, ioctl)))
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL):
            return None  # not a video device
        return Camera(number, problem=f"{error.strerror}; plug it in anew")
    finally:
        os.close(node)


def _modes(node: int, ioctl: Ioctl) -> Iterator[Mode]:
    for index in range(_MOST):
        data = bytearray(_FMTDESC.pack(index, _VIDEO_CAPTURE, 0, b"", 0))
        if not _ask(ioctl, node, ENUM_FMT, data):
            return
        pixels = _FMTDESC.unpack(data)[4]
        yield from _sizes(node, ioctl, pixels)


def _sizes(node: int, ioctl: Ioctl, pixels: int) -> Iterator[Mode]:
    fourcc = _text(pixels.to_bytes(4, "little")).strip()
    for index in range(_MOST):
        data = bytearray(_FRMSIZE.pack(index, pixels, *[0] * 7))
        if not _ask(ioctl, node, ENUM_FRAMESIZES, data):
            return
        _, _, kind, *size = _FRMSIZE.unpack(data)
        width, height = size[:2] if kind == _DISCRETE else (size[1], size[4])
        yield Mode(fourcc, width, height, _rates(node, ioctl, (pixels, width, height)), kind != _DISCRETE)
        if kind != _DISCRETE:
            return  # a range is the only entry of its list


def _rates(node: int, ioctl: Ioctl, mode: tuple[int, int, int]) -> tuple[float, ...]:
    """Frames per second of a mode, fastest first; of a range the fastest."""
    rates: set[float] = set()
    for index in range(_MOST_RATES):
        data = bytearray(_FRMIVAL.pack(index, *mode, *[0] * 7))
        if not _ask(ioctl, node, ENUM_FRAMEINTERVALS, data):
            break
        _, _, _, _, kind, numerator, denominator, *_ = _FRMIVAL.unpack(
            data
        )  # of a range these are the shortest
        if numerator:
            rates.add(round(denominator / numerator, 2))
        if kind != _DISCRETE:
            break
    return tuple(sorted(rates, reverse=True))


def _ask(ioctl: Ioctl, node: int, request: int, data: bytearray) -> bool:
    """Whether the list goes on; some drivers do not know a request, which is an empty list."""
    try:
        ioctl(node, request, data)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTTY):
            return False
        raise
    return True


def _text(raw: bytes) -> str:
    """Text of a driver, which may end with a zero and is not always text."""
    text = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "�" for c in text)


def suggest(camera: Camera) -> Mode | None:
    """The mode to begin with: about 1280x720, compressed where that is faster, since USB limits the others."""
    fixed = [mode for mode in camera.modes if not mode.any_smaller]
    if not fixed:
        return None
    fitting = [mode for mode in fixed if mode.width * mode.height <= 1280 * 720]
    largest = max(mode.width * mode.height for mode in fitting) if fitting else None
    if largest is None:
        return min(fixed, key=lambda mode: mode.width * mode.height)
    return max(
        (mode for mode in fitting if mode.width * mode.height == largest),
        key=lambda mode: mode.fps[:1] or (0.0,),
    )
