from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

from av import Packet, VideoStream
from av.container import InputContainer
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.decoder import Decoder, Timeline, Trust, media_clock
from streamqa.capture.ffmpeg import open_input

S = 10**9
TENTH = Fraction(1, 10)


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


def test_stream_time_is_exact_and_relative_to_the_start() -> None:
    clock = Timeline(Fraction(7, 3), Fraction(1001, 30000))
    stamps = [Fraction(7, 3) + i * Fraction(1001, 30000) for i in range(300)]
    assert [clock.at(stamp) for stamp in stamps] == [i * 1001 * S // 30000 for i in range(300)]


def test_without_a_start_the_first_timestamp_is_zero() -> None:
    clock = Timeline(None, TENTH)
    assert [clock.at(Fraction(50)), clock.at(Fraction(51))] == [0, S]


def test_pictures_without_timestamps_follow_one_another_at_the_frame_rate() -> None:
    clock = Timeline(None, TENTH)
    assert [clock.at(None) for _ in range(4)] == [0, S // 10, S // 5, 3 * S // 10]


def test_a_small_step_back_stands_still_and_a_large_one_begins_a_segment() -> None:
    clock = Timeline(Fraction(0), TENTH)
    stamps = [Fraction(10), Fraction(19, 2), Fraction(0), Fraction(1)]
    assert [clock.at(stamp) for stamp in stamps] == [10 * S, 10 * S, 10 * S + S // 10, 11 * S + S // 10]


@given(st.lists(st.none() | st.fractions(-100, 100), max_size=30), st.none() | st.fractions(-9, 9))
def test_stream_time_never_goes_back(stamps: list[Fraction | None], start: Fraction | None) -> None:
    clock = Timeline(start, TENTH)
    times = [clock.at(stamp) for stamp in stamps]
    assert times == sorted(times)
    assert all(time >= 0 for time in times)


def test_pictures_that_the_clock_leaves_out_are_not_given_and_not_lost(clip: Path) -> None:
    container, stream = open_input(str(clip), "clip")
    with container:
        media = media_clock(stream)

        def clock(stamp: Fraction | None) -> int | None:
            t_ns = media(stamp)
            return None if t_ns < S else t_ns

        decoder = Decoder(container, stream, clock, read_errors=1)
        times = [t_ns for batch in decoder.batches() for t_ns, _ in batch]
    assert times == [i * S // 15 for i in range(15, 90)]
    assert (decoder.packets, decoder.lost, decoder.missing, decoder.read_error) == (90, 0, 0, None)


def test_a_doubtful_start_waits_for_the_first_keyframe(clip: Path) -> None:
    container, stream = open_input(str(clip), "clip")
    with container:
        decoder = Decoder(container, stream, media_clock(stream), read_errors=1)
        decoder.doubt()
        assert sum(len(batch) for batch in decoder.batches()) == 90


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
        decoder = Decoder(cast(InputContainer, _Flushing(container)), stream, media_clock(stream), 10)
        pictures = [picture for batch in decoder.batches() for picture in batch]
    assert (len(pictures), decoder.lost, decoder.missing) == (90, 0, 0)
