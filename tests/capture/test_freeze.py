import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.freeze import Stillness, checksum, limit_ns
from streamqa.capture.source import SourceSpec

S = 10**9


@pytest.mark.parametrize(
    ("url", "pace", "seconds"),
    [
        ("rtsp://cam/x", "auto", 30),
        ("rtsp://cam/x", "realtime", 30),
        ("https://cam/mjpeg", "auto", 30),
        ("webcam:0", "auto", 30),
        ("/dev/video2", "auto", 30),
        ("scene:gate", "auto", 0),
        ("clip.mp4", "realtime", 0),
        ("https://host/clip.mp4", "realtime", 0),
    ],
)
def test_cameras_may_not_stand_still_for_half_a_minute_and_others_may(
    url: str, pace: str, seconds: int
) -> None:
    assert limit_ns(SourceSpec("a", url, pace=pace), is_live=True) == seconds * S
    assert limit_ns(SourceSpec("a", url, pace=pace, frozen_after_s=7.5), is_live=True) == 7.5 * S
    assert limit_ns(SourceSpec("a", url, pace=pace, frozen_after_s=0), is_live=True) == 0


def test_a_recording_may_always_stand_still() -> None:
    assert limit_ns(SourceSpec("a", "https://host/clip.mp4", frozen_after_s=7.5), is_live=False) == 0


def test_a_bit_of_noise_makes_another_checksum_and_a_copy_does_not() -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    copy = np.flip(np.flip(image, 1).copy(), 1)  # the same picture, differently laid out
    assert checksum(copy) == checksum(image)
    noisy = image.copy()
    noisy[::8, 80, 1] ^= 1
    assert checksum(noisy) != checksum(image)
    assert checksum(image[:48].copy()) != checksum(image)
    black = np.zeros((96, 160, 3), np.uint8)
    assert checksum(black) != checksum(black.reshape(160, 96, 3))


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3 * S)), max_size=30), st.sampled_from([0, 3 * S])
)
def test_still_is_exactly_when_three_identical_pictures_span_the_limit(
    seen: list[tuple[int, int]], limit: int
) -> None:
    stillness, now, past = Stillness(limit), 0, list[tuple[int, int]]()
    for mark, later in seen:
        now += later
        assert stillness.saw(mark, now) == (bool(past) and past[-1][0] == mark)
        past.append((mark, now))
        run = []
        for before in reversed(past):
            if before[0] != mark:
                break
            run.append(before[1])
        assert stillness.is_still == (limit > 0 and len(run) >= 3 and run[0] - run[-1] >= limit)


def test_what_was_before_does_not_count_once_it_is_forgotten() -> None:
    stillness = Stillness(3 * S)
    for t in range(5):
        stillness.saw(1, t * S)
    assert stillness.is_still
    stillness.forget()
    assert not stillness.is_still
    stillness.saw(1, 10 * S)
    assert not stillness.is_still
