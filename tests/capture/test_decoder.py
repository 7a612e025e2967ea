from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from av import Packet, VideoStream
from av.container import InputContainer
from av.error import InvalidDataError

from streamqa.capture.decoder import Packets, RecordedPictures, Trust
from streamqa.capture.ffmpeg import open_input
from streamqa.capture.images import Images

from .conftest import number_of

S = 10**9


def test_after_damage_nothing_is_believed_until_a_keyframe() -> None:
    trust = Trust()
    assert trust.accept(0, key=True, corrupt=False)
    assert not trust.accept(S // 10, key=False, corrupt=True)
    assert not trust.accept(S // 5, key=False, corrupt=False)
    assert trust.accept(S // 2, key=True, corrupt=False)
    assert trust.accept(S, key=False, corrupt=False)


def test_without_keyframes_belief_returns_two_seconds_after_the_last_damage() -> None:
    trust = Trust()
    trust.accept(0, key=True, corrupt=False)
    trust.doubt()
    assert not trust.accept(S, key=False, corrupt=False)
    assert not trust.accept(3 * S // 2, key=False, corrupt=True)
    assert not trust.accept(3 * S, key=False, corrupt=False)
    assert trust.accept(7 * S // 2, key=False, corrupt=False)


def test_a_damaged_keyframe_is_no_cure() -> None:
    trust = Trust()
    trust.doubt()
    assert not trust.accept(0, key=True, corrupt=True)
    assert not trust.accept(1, key=False, corrupt=False)


def test_doubt_begins_where_the_lost_packet_belongs() -> None:
    """Which is far from the picture before, where pictures between them were skipped."""
    trust = Trust()
    assert trust.accept(0, key=True, corrupt=False)
    trust.doubt(60 * S)
    assert not trust.accept(60 * S - S // 10, key=False, corrupt=False)  # shown before it, decoded after it
    assert not trust.accept(60 * S + S // 2, key=False, corrupt=False)
    assert trust.accept(63 * S, key=False, corrupt=False)


class _Flushing:
    """Ends as PyAV's containers do, by chance, where streams appeared after they were opened.

    No file does it always: the index lies outside of an array.
    """

    def __init__(self, container: InputContainer) -> None:
        self._container = container

    def demux(self, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
        yield from self._container.demux(stream)
        raise IndexError("list index out of range")


def test_an_end_that_pyav_stumbles_over_is_an_end(clip: Path) -> None:
    container, stream = open_input(str(clip), "clip")
    with container:
        packets = Packets(cast(InputContainer, _Flushing(container)), stream, 10)
        assert len(list(packets.read())) == 90
    assert (packets.count, packets.lost, packets.missing, packets.read_error) == (90, 0, 0, None)


class _Failing:
    """Reads that fail, as a damaged file's do."""

    def demux(self, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
        raise InvalidDataError(1, "damaged")


def test_reads_that_fail_are_counted_and_given_up(clip: Path) -> None:
    container, stream = open_input(str(clip), "clip")
    with container:
        packets = Packets(cast(InputContainer, _Failing()), stream, 10)
        assert list(packets.read()) == []
    assert (packets.lost, packets.missing) == (10, 90)
    assert isinstance(packets.read_error, InvalidDataError)


def read_from(path: Path, every_ns: int) -> tuple[list[int], RecordedPictures]:
    container, stream = open_input(str(path), "clip")
    with container:
        pictures, times = RecordedPictures(container, stream), [-every_ns]
        while (found := pictures.read(times[-1] // every_ns * every_ns + every_ns, math.inf)) is not None:
            times.append(found[0])
    return times[1:], pictures


def test_wanted_pictures_of_a_recording_come_and_its_measures_are_taken(clip: Path) -> None:
    times, pictures = read_from(clip, 700_000_000)
    assert times == [-(-700 * k * 15 // 1000) * S // 15 for k in range(9)]  # the next of 15 per second
    assert (pictures.lost, pictures.missing, pictures.is_decoded_whole) == (0, 0, False)
    assert (pictures.ended, pictures.is_fruitless) == (True, False)
    assert pictures.rate.fps == pytest.approx(15, rel=0.01)
    assert pictures.gops.mean_s == pytest.approx(1, rel=0.2)
    assert pictures.end_ns == 6 * S


def test_a_read_gives_up_when_its_time_is_over_and_goes_on_later(clip: Path) -> None:
    container, stream = open_input(str(clip), "clip")
    with container:
        pictures, reads = RecordedPictures(container, stream), 0
        while (found := pictures.read(5 * S, until=0)) is None:
            assert not pictures.ended
            reads += 1
    assert found[0] == 5 * S
    assert reads > 70


def test_what_is_wanted_after_the_end_is_no_damage(clip: Path) -> None:
    container, stream = open_input(str(clip), "clip")
    with container:
        pictures = RecordedPictures(container, stream)
        assert pictures.read(7 * S, math.inf) is None
        assert (pictures.ended, pictures.is_fruitless, pictures.lost) == (True, False, 0)
        found = pictures.read(5_800_000_000, math.inf)  # the last GOP is still there
        assert found is not None
        assert found[0] == 5_800_000_000


def smeared(path: Path, step_ns: int) -> tuple[set[int], RecordedPictures]:
    """Which pictures show another number than theirs; read one per `step_ns`."""
    container, stream = open_input(str(path), "clip")
    wrong = set()
    with container:
        pictures, wanted_ns, images = RecordedPictures(container, stream), 0, Images()
        while (found := pictures.read(wanted_ns, math.inf)) is not None:
            t_ns, frame = found
            assert t_ns >= wanted_ns
            number = round(t_ns * 15 / S)
            wanted_ns = t_ns + step_ns
            if number_of(images.of(frame)) != number:
                wrong.add(number)
    return wrong, pictures


@pytest.mark.parametrize("seed", range(6))
def test_samples_of_a_damaged_recording_are_no_worse_than_decoding_everything(
    clip: Path, tmp_path: Path, seed: int
) -> None:
    data = bytearray(clip.read_bytes())
    rng = np.random.default_rng(seed)
    for at in rng.integers(len(data) * 2 // 10, len(data) * 8 // 10, 40):
        data[at] ^= int(rng.integers(1, 256))
    (tmp_path / "a.mp4").write_bytes(data)
    unnoticed, _ = smeared(tmp_path / "a.mp4", 0)  # a flipped bit need not be an error
    wrong, pictures = smeared(tmp_path / "a.mp4", S // 5)
    assert wrong <= unnoticed
    assert len(unnoticed) < 3
    assert pictures.lost
