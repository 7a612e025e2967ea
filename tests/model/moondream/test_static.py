"""Padding and recording change nothing: what batches say is in `test_exactness`, with these switched on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from streamqa.model.moondream.graphs import Capture, CudaCapture, Memory, Programs
from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.packing import Session
from streamqa.model.moondream.prepare import fuse
from streamqa.model.moondream.static import Decoder, StaticSession, Tower
from tests.model.moondream.tape import capture

CAPTURES = [None, capture]


def made(model: Moondream, record: Capture | None) -> Decoder:
    programs = Programs(record, patience=0)
    return Decoder(model.network, Memory(model.network.device, programs), programs)


@pytest.mark.parametrize("record", CAPTURES)
@torch.inference_mode()
def test_crops_in_any_number(golden: Any, record: Capture | None) -> None:
    vision = golden.model.network.vision
    size = vision.config.crop_size
    programs = Programs(record, patience=0)
    tower = Tower(vision, Memory(torch.device("cpu"), programs), programs)
    for count in (33, 1, 17, 3, 17, 18, 2):
        crops = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8)
        torch.testing.assert_close(tower(crops), vision.encode(crops), atol=1e-4, rtol=1e-4)
    assert programs.recorded == ([] if record is None else [("tower", n) for n in (36, 1, 3, 18, 2)])


class Fork:
    depths = np.array([1, 2, 1])
    sees = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)


def both(
    model: Moondream,
    decoder: Decoder,
    pictures: list[Any],
    images: list[int],
    counts: list[int],
    trees: Any = (),
) -> tuple[Session, StaticSession]:
    """The plain session and the padded one after the same first rows, which they answered alike."""
    tokens = torch.stack([e.tokens for e in model.encode_image(pictures)])
    x = model.network.text.embed(torch.arange(sum(counts)) % 200 + 20)
    plain, expected = model.network.look(tokens, images, (x, counts, trees))
    static, got = decoder.look(tokens, images, (x, counts, trees))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    return plain, static


def fed(model: Moondream, sessions: tuple[Session, StaticSession], counts: list[int], seed: int = 0) -> None:
    x = torch.randn(sum(counts), model.config.text.dim, generator=torch.Generator().manual_seed(seed))
    expected, got = (session.feed(x, counts) for session in sessions)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("record", CAPTURES)
@pytest.mark.parametrize("step", [1, 16])
@torch.inference_mode()
def test_first_rows_steps_and_leaving(
    toy: Moondream, toy_images: list[Any], monkeypatch: pytest.MonkeyPatch, record: Capture | None, step: int
) -> None:
    monkeypatch.setattr(toy.network.text, "slot_step", step)
    decoder = made(toy, record)
    for seed in range(3):  # the second and third time what was recorded is replayed
        sessions = both(
            toy, decoder, toy_images[:4], [0, 0, 1, 3, 3], [4, 6, 3, 9, 2], [None, Fork(), None, None, None]
        )
        for session in sessions:
            session.keep([0, 2, 3, 4])
            session.rewind([4, 3, 7, 1])
        fed(toy, sessions, [1, 1, 1, 1], seed)
        fed(toy, sessions, [2, 1, 5, 1], seed)
        for session in sessions:
            session.keep([0, 2, 3])
        for n in range(25):  # over several sizes of the cache
            fed(toy, sessions, [1, 1, 1], n)
        for session in sessions:
            session.keep([2])  # the ranks are closed
        for n in range(4):
            fed(toy, sessions, [1], n)


@pytest.mark.parametrize("record", CAPTURES)
@torch.inference_mode()
def test_a_larger_batch_moves_the_memory(
    toy: Moondream, toy_images: list[Any], record: Capture | None
) -> None:
    decoder = made(toy, record)
    for pictures in (1, 3, 1, 4, 3):
        images = [i for i in range(pictures) for _ in range(pictures)]
        sessions = both(toy, decoder, toy_images[:pictures], images, [5 + i for i in range(len(images))])
        for n in range(3):
            fed(toy, sessions, [1] * len(images), n)


@torch.inference_mode()
def test_one_bad_picture_spoils_no_other_and_no_later_batch(toy: Moondream, toy_images: list[Any]) -> None:
    decoder = made(toy, None)
    tokens = torch.stack([e.tokens for e in toy.encode_image(toy_images[:3])])
    x, counts = toy.network.text.embed(torch.arange(40, 55)), [4, 5, 6]
    _, expected = toy.network.look(tokens, [0, 1, 2], (x, counts, []))
    spoiled = tokens.clone()
    spoiled[0] = float("nan")
    session, got = decoder.look(spoiled, [0, 1, 2], (x, counts, []))
    assert not got[:4].isfinite().any()
    torch.testing.assert_close(got[4:], expected[4:], atol=1e-4, rtol=1e-4)
    after = session.feed(x[:3], [1, 1, 1])
    assert after[1:].isfinite().all()
    assert not after[0].isfinite().any()
    sessions = both(toy, decoder, toy_images[:3], [0, 1, 2], [2, 3, 4])
    for n in range(40):
        fed(toy, sessions, [1, 1, 1], n)


@torch.inference_mode()
def test_what_a_session_refuses(toy: Moondream, toy_images: list[Any]) -> None:
    decoder = made(toy, None)
    _, static = both(toy, decoder, toy_images[:1], [0], [3])
    with pytest.raises(ValueError, match="rewound"):
        static.rewind([4])
    with pytest.raises(ValueError, match="trees"):
        static.feed(torch.zeros(3, toy.config.text.dim), [3], [Fork()])
    with pytest.raises(ValueError, match="sorted"):
        decoder.look(torch.zeros(2, 16, 32), [1, 0], (torch.zeros(2, 32), [1, 1], []))


@pytest.mark.gpu
@torch.inference_mode()
def test_on_a_gpu_recorded(toy_dir: Any, toy_images: list[Any]) -> None:
    model = Moondream.from_pretrained(toy_dir, "cuda", torch.float32)
    fuse(model.network)
    decoder = made(model, CudaCapture(model.network.device))
    for _ in range(3):
        tokens = torch.stack([e.tokens for e in model.encode_image(toy_images[:3])])
        x = model.network.text.embed(torch.arange(40, 55, device="cuda"))
        plain, expected = model.network.look(tokens, [0, 1, 2], (x, [4, 5, 6], []))
        static, got = decoder.look(tokens, [0, 1, 2], (x, [4, 5, 6], []))
        torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)
        for n in range(4):
            row = x[n : n + 3]
            torch.testing.assert_close(
                static.feed(row, [1] * 3), plain.feed(row, [1] * 3), atol=1e-3, rtol=1e-3
            )
    assert decoder.programs.recorded
