"""Messages between a process and the child that runs its model: over a socket pair, pictures in shared memory.

A message is a small pickled value with its length before it. Pickle is used between our own two processes only. The
pictures of a batch lie in a slab of shared memory, whose descriptor travels once; the next batch reuses it, because
fresh pages cost far more than the copy (measured on two busy cores, a 1920x1080 frame there and its answers back:
0.8 ms, of which the copy takes 0.43; with fresh pages each time 7.4 ms).
"""

from __future__ import annotations

import mmap
import os
import pickle
import select
import socket
import struct
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from streamqa.model.base import ModelOptions
from streamqa.types import Generation, ModelInfo, Request

_MAGIC = b"sqa1"
_HEAD = struct.Struct("<4sI")
_MAX_BYTES = 64 * 1024 * 1024  # pictures are not in it
_MAX_DESCRIPTORS = 4
_STUCK_S = 10.0  # for the rest of a message that has begun, or for room to write one
_ALIGN = 64
_SLAB_BYTES = 1024 * 1024  # the smallest; pages that are never written take no memory


class BrokenLink(Exception):
    """What came over the link is no message of ours."""


@dataclass(frozen=True, slots=True)
class Load:
    """To the child, first: which model to be."""

    target: str  # module:function
    spec: str
    directory: Path | None
    options: ModelOptions


@dataclass(frozen=True, slots=True)
class Loaded:
    """From the child: ready."""

    info: ModelInfo
    devices: int  # CUDA devices that it sees; 0 where the model uses none


@dataclass(frozen=True, slots=True)
class Refused:
    """From the child: it cannot load; it ends."""

    message: str
    is_config: bool  # the user's mistake (ConfigError), else the operator's (ModelError)


class Place(NamedTuple):
    """Where a picture lies in a slab."""

    offset: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Ask:
    """To the child: answer these."""

    id: int
    requests: tuple[Request, ...]  # without their pictures
    places: tuple[Place | None, ...]  # of the pictures
    slab: int  # its number; it comes along when it is new
    slab_bytes: int
    forget: tuple[int, ...]  # slabs that are not used again


@dataclass(frozen=True, slots=True)
class Answered:
    """From the child: what the model said."""

    id: int
    generations: list[list[Generation]]


@dataclass(frozen=True, slots=True)
class Failed:
    """From the child: the model raised this; the child lives on."""

    id: int
    message: str


@dataclass(frozen=True, slots=True)
class Lost:
    """From the child: the device is lost for this process, which ends."""

    message: str


FromChild: TypeAlias = Loaded | Refused | Answered | Failed | Lost


class Link:
    """One end. Any thread may send; one thread receives."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(_STUCK_S)
        self._socket = end
        self._sending = threading.Lock()
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)

    def send(self, message: object, descriptors: Sequence[int] = ()) -> None:
        """Send a message, and open files with it.

        Raises:
            OSError: the other side is gone, or does not read (`TimeoutError`); then the link is of no more use.
        """
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        if len(data) > _MAX_BYTES:
            raise ValueError(f"a message of {len(data)} bytes; at most {_MAX_BYTES}")
        with self._sending:
            socket.send_fds(self._socket, [_HEAD.pack(_MAGIC, len(data))], list(descriptors))
            self._socket.sendall(data)

    def readable(self, timeout_s: float | None = None) -> bool:
        """Wait for a message to begin, or for the end; False when the time is over first."""
        return bool(self._poll.poll(None if timeout_s is None else timeout_s * 1000))

    def receive(self) -> tuple[object, list[int]]:
        """The next message and the open files that came with it, once `readable`.

        Raises:
            EOFError: the other side is gone.
            BrokenLink: garbage, or half a message.
        """
        try:
            head, descriptors = self._head()
            magic, size = _HEAD.unpack(head)
            if magic != _MAGIC or size > _MAX_BYTES:
                raise BrokenLink("no message begins like this")
            data = self._exactly(size)
        except TimeoutError:
            raise BrokenLink("half a message") from None
        except OSError as error:
            raise EOFError(str(error)) from None
        try:
            return pickle.loads(data), descriptors
        # Bytes that are no pickle raise almost anything.
        except Exception as error:
            raise BrokenLink(f"unreadable ({type(error).__name__})") from None

    def shut(self) -> None:
        """End it: both sides read the end. May be called from any thread, and twice."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Free the descriptor, after `shut` and once nobody receives."""
        with self._sending:
            self._socket.close()

    def _head(self) -> tuple[bytes, list[int]]:
        data, descriptors, _, _ = socket.recv_fds(self._socket, _HEAD.size, _MAX_DESCRIPTORS)
        if not data:
            raise EOFError
        return data + self._exactly(_HEAD.size - len(data)), descriptors

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = self._socket.recv(min(size - len(data), 1 << 20))
            if not more:
                raise EOFError
            data += more
        return bytes(data)


class Slab(NamedTuple):
    """Shared memory for the pictures of one batch at a time, as its maker sees it."""

    number: int
    memory: mmap.mmap
    descriptors: tuple[int, ...]  # one, to send along; none once it has been


class Slabs:
    """The maker's side: as many slabs as batches are under way, each as large as the largest batch it carried."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[Slab] = []
        self._made = 0
        self._forget: list[int] = []

    def borrow(self, size: int) -> tuple[Slab, tuple[int, ...]]:
        """A slab of at least `size` bytes, and the numbers of those that are gone for ever."""
        with self._lock:
            slab = self._free.pop() if self._free else None
            if slab is not None and len(slab.memory) < size:
                self._forget.append(slab.number)
                slab = None
            if slab is None:
                slab = self._make(size)
            forget, self._forget = tuple(self._forget), []
            return slab, forget

    def give_back(self, slab: Slab) -> None:
        """The batch is answered: the slab may carry another."""
        with self._lock:
            self._free.append(slab)

    def _make(self, size: int) -> Slab:
        bytes_ = max(_SLAB_BYTES, 1 << max(0, size - 1).bit_length())
        descriptor = _shared_file()
        try:
            os.truncate(descriptor, bytes_)
            memory = mmap.mmap(descriptor, bytes_)
        except BaseException:
            os.close(descriptor)
            raise
        self._made += 1
        return Slab(self._made, memory, (descriptor,))


def _shared_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("streamqa-pictures")
    with tempfile.TemporaryFile() as file:  # systems without it: a file without a name
        return os.dup(file.fileno())


def places(requests: Sequence[Request]) -> tuple[tuple[Place | None, ...], int]:
    """Where the pictures of `requests` go, one after the other, and how many bytes they take."""
    found: list[Place | None] = []
    end = 0
    for request in requests:
        if request.image is None:
            found.append(None)
            continue
        found.append(Place(end, request.image.shape, request.image.dtype.str))
        end += -(-request.image.nbytes // _ALIGN) * _ALIGN
    return tuple(found), end


def lay(requests: Sequence[Request], at: Sequence[Place | None], memory: mmap.mmap) -> tuple[Request, ...]:
    """Copy the pictures into shared memory; returns the requests without them."""
    for request, place in zip(requests, at, strict=True):
        if request.image is not None and place is not None:
            np.copyto(_view(memory, place), request.image)
    return tuple(replace(request, image=None) for request in requests)


def pick_up(requests: Sequence[Request], at: Sequence[Place | None], memory: mmap.mmap) -> list[Request]:
    """The requests with their pictures, which are views into shared memory: no copy is made."""
    return [
        request if place is None else replace(request, image=_view(memory, place))
        for request, place in zip(requests, at, strict=True)
    ]


def _view(memory: mmap.mmap, place: Place) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    dtype = np.dtype(place.dtype)
    count = int(np.prod(place.shape))
    return np.frombuffer(memory, dtype, count, place.offset).reshape(place.shape)
