from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamqa.capture.buffer import Choose, FrameBuffer, Offer
from streamqa.metrics import Metrics
from streamqa.types import Frame

IMAGE = np.zeros((2, 2, 3), np.uint8)


def frame(source: str, index: int) -> Frame:
    return Frame(source, index, index, None, "media", 0, IMAGE)


def dropped(metrics: Metrics, source: str) -> float:
    return metrics.frames_dropped.labels(source)._value.get()


def up_to(count: int) -> Choose:
    return lambda offers: min(count, len(offers))


def names(frames: list[Frame]) -> list[str]:
    return [f"{f.source}{f.index}" for f in frames]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=40))
def test_of_a_live_source_the_newest_frame_is_given_and_the_others_are_counted(
    ops: list[tuple[str, bool]],
) -> None:
    metrics = Metrics()
    buffer = FrameBuffer(metrics)
    for source in "ab":
        buffer.add(source, live=True)
    unread: dict[str, int] = {}
    expected = dict.fromkeys("ab", 0)
    for index, (source, is_put) in enumerate(ops):
        if is_put:
            expected[source] += source in unread
            unread[source] = index
            buffer.put(frame(source, index))
        else:
            taken = buffer.take(up_to(8), 0)
            assert {f.source: f.index for f in taken} == unread
            unread = {}
    assert {source: dropped(metrics, source) for source in "ab"} == expected


@settings(deadline=None, max_examples=15)
@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 25), min_size=1),
    st.integers(1, 5),
    st.integers(1, 4),
)
def test_recordings_wait_so_nothing_is_lost_and_order_is_kept(
    counts: dict[str, int], max_frames: int, capacity: int
) -> None:
    buffer = FrameBuffer(Metrics(), capacity)

    def run(source: str) -> None:
        for index in range(counts[source]):
            buffer.put(frame(source, index), threading.Event())
        buffer.finish(source)

    for source in counts:
        buffer.add(source, live=False)
    threads = [threading.Thread(target=run, args=(source,)) for source in counts]
    for thread in threads:
        thread.start()
    seen: dict[str, list[int]] = {source: [] for source in counts}
    while not buffer.exhausted:
        taken = buffer.take(up_to(max_frames), 1)
        assert len(taken) <= max_frames
        for one in taken:
            seen[one.source].append(one.index)
    for thread in threads:
        thread.join(5)
    assert seen == {source: list(range(count)) for source, count in counts.items()}


def test_a_recording_holds_no_more_than_its_capacity() -> None:
    buffer = FrameBuffer(Metrics(), 2)
    buffer.add("a", live=False)
    stop = threading.Event()

    def run() -> None:
        for index in range(10):
            buffer.put(frame("a", index), stop)

    thread = threading.Thread(target=run)
    thread.start()
    assert names(buffer.take(up_to(1), 5)) == ["a0"]
    stop.set()  # a waiting put looks up
    thread.join(5)
    assert not thread.is_alive()
    rest = buffer.take(up_to(20), 0)
    assert len(rest) <= 2
    assert names(rest) == ["a1", "a2"][: len(rest)]


def test_sources_take_turns() -> None:
    buffer = FrameBuffer(Metrics())
    for source, live in (("a", False), ("b", False), ("c", True)):
        buffer.add(source, live)
    for index in range(4):
        for source in "abc":
            buffer.put(frame(source, index))
    assert names(buffer.take(up_to(4), 0)) == ["a0", "b0", "c3", "a1"]
    assert names(buffer.take(up_to(2), 0)) == ["b1", "a2"]
    buffer.put(frame("c", 9))
    assert names(buffer.take(up_to(9), 0)) == ["c9", "b2", "a3", "b3"]


def test_higher_priorities_come_first_and_equal_ones_take_turns() -> None:
    buffer = FrameBuffer(Metrics())
    for source, priority in (("a", 0), ("b", 5), ("c", 5), ("d", -1)):
        buffer.add(source, live=False, priority=priority)
    for index in range(3):
        for source in "abcd":
            buffer.put(frame(source, index))
    assert names(buffer.take(up_to(3), 0)) == ["b0", "c0", "b1"]
    assert names(buffer.take(up_to(4), 0)) == ["c1", "b2", "c2", "a0"]
    assert names(buffer.take(up_to(9), 0)) == ["a1", "a2", "d0", "d1", "d2"]


def test_whoever_chooses_sees_what_there_is_and_takes_the_first_of_it() -> None:
    buffer = FrameBuffer(Metrics())
    buffer.add("a", live=True)
    buffer.add("b", live=False, priority=1)
    for index in range(2):
        buffer.put(frame("a", index))
        buffer.put(frame("b", index))
    offered: list[tuple[str, int, bool]] = []

    def choose(offers: Sequence[Offer]) -> int:
        offered.extend((f"{o.frame.source}{o.frame.index}", o.priority, o.live) for o in offers)
        return 1

    assert names(buffer.take(choose, 0)) == ["b0"]
    assert offered == [("b0", 1, False), ("b1", 1, False), ("a1", 0, True)]


def test_who_chooses_nothing_is_asked_again_when_something_comes() -> None:
    buffer = FrameBuffer(Metrics())
    buffer.add("a", live=False)
    buffer.put(frame("a", 0))
    assert buffer.take(lambda offers: 0, 0.01) == []
    timer = threading.Timer(0.05, buffer.put, [frame("a", 1)])
    timer.start()
    assert names(buffer.take(lambda offers: 2 if len(offers) > 1 else 0, 20)) == ["a0", "a1"]
    timer.join(5)


def test_a_wake_up_ends_one_wait_also_when_it_comes_before() -> None:
    buffer = FrameBuffer(Metrics())
    buffer.add("a", live=False)
    buffer.put(frame("a", 0))
    buffer.wake()
    assert buffer.take(up_to(1), 20) == []
    assert names(buffer.take(up_to(1), 20)) == ["a0"]
    timer = threading.Timer(0.05, buffer.wake)
    timer.start()
    assert buffer.take(up_to(1), 20) == []
    timer.join(5)


def test_take_gives_up_after_its_time() -> None:
    buffer = FrameBuffer(Metrics())
    buffer.add("a", live=True)
    begin = time.monotonic()
    assert buffer.take(up_to(1), 0.05) == []
    assert 0.04 < time.monotonic() - begin < 5
    assert not buffer.exhausted


def test_take_wakes_up_for_a_frame() -> None:
    buffer = FrameBuffer(Metrics())
    buffer.add("a", live=True)
    timer = threading.Timer(0.05, buffer.put, [frame("a", 0)])
    timer.start()
    assert names(buffer.take(up_to(1), 20)) == ["a0"]
    timer.join(5)


def test_the_end_is_known_only_when_all_is_read() -> None:
    buffer = FrameBuffer(Metrics())
    buffer.add("a", live=False)
    buffer.put(frame("a", 0))
    buffer.finish("a")
    assert not buffer.exhausted
    assert names(buffer.take(up_to(1), 0)) == ["a0"]
    assert buffer.exhausted
    begin = time.monotonic()
    assert buffer.take(up_to(1), 20) == []  # at once
    assert time.monotonic() - begin < 5


def test_closing_wakes_both_sides() -> None:
    buffer = FrameBuffer(Metrics(), 1)
    buffer.add("a", live=False)
    buffer.add("b", live=True)
    buffer.put(frame("a", 0))
    writer = threading.Thread(target=buffer.put, args=(frame("a", 1), threading.Event()))
    writer.start()
    timer = threading.Timer(0.05, buffer.close)
    timer.start()
    writer.join(5)
    timer.join(5)
    assert not writer.is_alive()
    assert buffer.take(up_to(5), 20) == []


def test_what_a_given_up_reader_brings_late_is_left_aside() -> None:
    buffer = FrameBuffer(Metrics())
    buffer.add("a", live=True)
    buffer.finish("a")
    buffer.put(frame("a", 0))
    assert buffer.exhausted


def test_mistakes_are_told() -> None:
    buffer = FrameBuffer(Metrics())
    buffer.add("a", live=True)
    with pytest.raises(ValueError, match="already"):
        buffer.add("a", live=True)
    with pytest.raises(ValueError, match="capacity"):
        FrameBuffer(Metrics(), 0)


def test_a_removed_source_is_forgotten_and_what_was_unread_counted() -> None:
    metrics = Metrics()
    buffer = FrameBuffer(metrics, 4)
    for source in "ab":
        buffer.add(source, live=False)
        for index in range(3):
            buffer.put(frame(source, index))
    buffer.remove("a")
    buffer.remove("nobody")
    assert dropped(metrics, "a") == 3
    assert names(buffer.take(up_to(8), 0)) == ["b0", "b1", "b2"]
    buffer.put(frame("a", 3))  # from a read that was on its way
    assert buffer.take(up_to(8), 0) == []
    buffer.finish("b")
    assert buffer.exhausted
    buffer.add("a", live=True)
    buffer.put(frame("a", 4))
    assert names(buffer.take(up_to(8), 0)) == ["a4"]


def test_whoever_waits_for_room_goes_free_when_its_source_is_removed() -> None:
    buffer = FrameBuffer(Metrics(), 1)
    buffer.add("a", live=False)
    buffer.put(frame("a", 0))
    thread = threading.Thread(target=buffer.put, args=(frame("a", 1),))
    thread.start()
    buffer.remove("a")
    thread.join(10)
    assert not thread.is_alive()


def test_a_buffer_that_stays_is_exhausted_only_when_it_is_closed() -> None:
    buffer = FrameBuffer(Metrics(), stays=True)
    assert not buffer.exhausted
    buffer.add("a", live=True)
    buffer.finish("a")
    assert not buffer.exhausted
    begin = time.monotonic()
    assert buffer.take(up_to(8), 0.2) == []
    assert time.monotonic() - begin >= 0.2, "it would spin"
    buffer.close()
    assert buffer.exhausted


def test_a_source_is_drained_when_it_has_finished_and_all_is_taken() -> None:
    buffer = FrameBuffer(Metrics(), stays=True)
    buffer.add("a", live=False)
    buffer.put(frame("a", 0))
    assert not buffer.is_drained("a")
    buffer.finish("a")
    assert not buffer.is_drained("a")
    buffer.take(up_to(1), 0)
    assert buffer.is_drained("a")
    assert buffer.is_drained("never there")
