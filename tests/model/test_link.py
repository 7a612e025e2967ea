import os
import socket
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from streamqa.model import link as link_module
from streamqa.model.link import BrokenLink, Link, Place, Slabs, lay, pick_up, places
from streamqa.types import Prompt, Request


@pytest.fixture
def ends() -> Iterator[tuple[Link, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield Link(one), other


def test_messages_and_open_files_arrive_in_order() -> None:
    one, other = socket.socketpair()
    with one, other:
        here, there = Link(one), Link(other)
        read, write = os.pipe()
        here.send("a" * 20_000, [write])
        here.send(("b", 2))
        os.close(write)
        assert there.readable(5)
        first, descriptors = there.receive()
        assert first == "a" * 20_000
        os.write(descriptors[0], b"through")
        assert os.read(read, 10) == b"through"
        os.close(read)
        os.close(descriptors[0])
        assert there.receive() == (("b", 2), [])
        assert not there.readable(0)


@pytest.mark.parametrize(
    "sent",
    [b"x" * 100, struct.pack("<4sI", b"sqa1", 2**31), struct.pack("<4sI", b"sqa1", 4) + b"abcd"],
    ids=["noise", "endless", "no pickle"],
)
def test_garbage_is_known_for_what_it_is(ends: tuple[Link, socket.socket], sent: bytes) -> None:
    link, other = ends
    other.sendall(sent)
    with pytest.raises(BrokenLink):
        link.receive()


def test_half_a_message_does_not_hold_up_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_STUCK_S", 0.05)
    one, other = socket.socketpair()
    with one, other:
        other.sendall(b"sqa")
        with pytest.raises(BrokenLink, match="half a message"):
            Link(one).receive()


def test_the_end_is_an_end(ends: tuple[Link, socket.socket]) -> None:
    link, other = ends
    other.close()
    assert link.readable(5)
    with pytest.raises(EOFError):
        link.receive()
    with pytest.raises(OSError):  # noqa: PT011 - the kernel's word depends on the moment
        link.send("anybody?")
    link.shut()
    link.shut()
    link.close()


def test_a_reader_that_does_not_read_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_STUCK_S", 0.05)
    one, other = socket.socketpair()
    with one, other, pytest.raises(TimeoutError):
        Link(one).send("x" * 10_000_000)


def request(height: int, width: int, fill: int) -> Request:
    return Request(np.full((height, width, 3), fill, np.uint8), (Prompt("a"),))


def test_pictures_lie_side_by_side_and_come_out_as_they_went_in() -> None:
    every_other = Request(np.arange(600, dtype=np.uint8).reshape(10, 20, 3)[::2, ::-1], (Prompt("a"),))
    requests = [request(5, 7, 1), Request(None, (Prompt("b"),)), every_other, request(1, 1, 3)]
    at, size = places(requests)
    assert at == (
        Place(0, (5, 7, 3), "|u1"),
        None,
        Place(128, (5, 20, 3), "|u1"),
        Place(448, (1, 1, 3), "|u1"),
    )
    assert size == 512
    slab, _ = Slabs().borrow(size)
    bare = lay(requests, at, slab.memory)
    assert all(r.image is None for r in bare)
    for before, after in zip(requests, pick_up(bare, at, slab.memory), strict=True):
        assert after.prompts == before.prompts
        if before.image is None:
            assert after.image is None
        else:
            np.testing.assert_array_equal(after.image, before.image)


def test_slabs_are_used_again_and_grow() -> None:
    slabs = Slabs()
    first, _ = slabs.borrow(10)
    second, _ = slabs.borrow(10)
    assert (first.number, second.number) == (1, 2)
    slabs.give_back(first)
    again, forget = slabs.borrow(1024 * 1024)
    assert (again.number, forget) == (1, ())
    slabs.give_back(again)
    larger, forget = slabs.borrow(1024 * 1024 + 1)
    assert (larger.number, forget, len(larger.memory)) == (3, (1,), 2 * 1024 * 1024)
    nothing, _ = slabs.borrow(0)
    assert nothing.number == 4


def test_without_memfd_a_nameless_file_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    slab, _ = Slabs().borrow(100)
    slab.memory[:3] = b"abc"
    assert os.pread(slab.descriptors[0], 3, 0) == b"abc"
