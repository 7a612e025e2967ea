from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from streamqa.capture import folder
from streamqa.capture.encode import write_video
from streamqa.capture.folder import FolderSource, make
from streamqa.capture.pace import Realtime
from streamqa.capture.source import Picture, SourceSpec
from streamqa.errors import ConfigError, SourceEnded, SourceError, SourceRefused, SourceUnavailable
from streamqa.types import NS_PER_S, utc_now

from .conftest import Rig, as_somebody, number_of, numbered


def still(path: Path, number: int) -> Path:
    Pillow.fromarray(numbered(number)).save(path)
    return path


def movie(path: Path, numbers: range, fps: int = 10) -> Path:
    write_video(path, (numbered(n) for n in numbers), fps)
    return path


@contextmanager
def opened(source: FolderSource) -> Iterator[FolderSource]:
    source.open()
    try:
        yield source
    finally:
        source.close()


def read_all(source: FolderSource, wanted_s: float = 0) -> tuple[list[tuple[float, int]], SourceError]:
    """Times in s and numbers of all pictures, and how it ended."""
    pictures: list[tuple[float, int]] = []
    with opened(source):
        try:
            while True:
                picture = source.read(round(wanted_s * NS_PER_S))
                if picture is not None:
                    pictures.append((round(picture.t_ns / NS_PER_S, 6), number_of(picture.to_image())))
        except SourceError as end:
            return pictures, end


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two images, a clip of 0.5 s, and an image, in the order of their names; and what does not count."""
    still(tmp_path / "f1.png", 1)
    still(tmp_path / "f2.jpg", 2)
    movie(tmp_path / "f3.mp4", range(10, 15))
    still(tmp_path / "f10.bmp", 3)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "sub").mkdir()
    still(tmp_path / "sub" / "f0.png", 9)
    still(tmp_path / ".hidden.png", 9)
    return tmp_path


def test_images_and_clips_are_one_recording_in_natural_order(mixed: Path) -> None:
    pictures, end = read_all(FolderSource(str(mixed)))
    assert pictures == [
        *[(0.0, 1), (1.0, 2)],
        *[(2.0, 10), (2.1, 11), (2.2, 12), (2.3, 13), (2.4, 14)],
        (2.5, 3),  # one period after the clip's last picture
    ]
    assert isinstance(end, SourceEnded)


def test_the_interval_is_between_images_only(mixed: Path) -> None:
    pictures, _ = read_all(FolderSource(str(mixed), interval_ns=NS_PER_S // 4))
    assert [t_s for t_s, _ in pictures] == [0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


@pytest.mark.parametrize("wanted_s", [0.5, 1.0, 2.05, 2.3, 2.45])
def test_which_picture_is_next_does_not_depend_on_what_was_left_out(mixed: Path, wanted_s: float) -> None:
    everything, _ = read_all(FolderSource(str(mixed)))
    pictures, end = read_all(FolderSource(str(mixed)), wanted_s)
    later = [picture for picture in everything if picture[0] >= wanted_s]
    assert pictures[-len(later) :] == later
    assert isinstance(end, SourceEnded)


def test_images_that_nobody_wants_are_not_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("would be told as damaged")
    still(tmp_path / "b.png", 1)
    pictures, end = read_all(FolderSource(str(tmp_path)), wanted_s=1)
    assert pictures == [(1.0, 1)]
    assert isinstance(end, SourceEnded)


def test_damaged_files_are_left_out_and_told_at_the_end(mixed: Path) -> None:
    (mixed / "f2.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (mixed / "f4.mp4").write_text("no clip")
    (mixed / "f5.webp").write_bytes(b"")
    pictures, end = read_all(FolderSource(str(mixed)))
    assert [number for _, number in pictures] == [1, 10, 11, 12, 13, 14, 3]
    assert pictures[-1][0] == 4.5, "a file that could not be read keeps its second"
    assert isinstance(end, SourceUnavailable)
    message = str(end)
    assert message.startswith(f"{mixed}: 3 of 6 files damaged: f2.jpg: not an image")
    assert "f4.mp4: not a video" in message
    assert message.count(str(mixed)) == 1
    assert "\n" not in message


def test_of_many_damaged_files_a_few_are_named(tmp_path: Path) -> None:
    still(tmp_path / "z.png", 1)
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_text("no")
    _, end = read_all(FolderSource(str(tmp_path)))
    assert "20 of 21 files damaged: 0.jpg: " in str(end)
    assert str(end).endswith("; …")
    assert str(end).count(".jpg") == 3


def test_a_truncated_clip_gives_what_it_has_and_is_told(tmp_path: Path) -> None:
    whole = movie(tmp_path / "a.mp4", range(40)).read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    still(tmp_path / "b.png", 99)
    pictures, end = read_all(FolderSource(str(tmp_path)))
    assert 5 < len(pictures) < 41
    assert pictures[-1][1] == 99
    assert pictures[-2][0] + 0.1 <= pictures[-1][0] + 1e-6 < 4, "where what is left of the clip ends"
    assert isinstance(end, SourceUnavailable)
    assert "1 of 2 files damaged: a.mp4: damaged: " in str(end)


def test_a_folder_in_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no")
    pictures, end = read_all(FolderSource(str(tmp_path)))
    assert pictures == []
    assert isinstance(end, SourceRefused)
    assert "not one picture in it can be read: a.png: " in str(end)


@pytest.mark.parametrize("watch", [False, True])
def test_no_folder_is_refused_in_one_line(tmp_path: Path, watch: bool) -> None:
    for path, words in [
        (tmp_path / "none", "No such file"),
        (still(tmp_path / "a.png", 1), "Not a directory"),
        ("\0", "not a path"),
    ]:
        with pytest.raises(SourceRefused, match=words) as caught:
            FolderSource(str(path), watch=watch).open()
        assert "\n" not in str(caught.value)
    (tmp_path / "locked").mkdir(mode=0)
    with as_somebody(), pytest.raises(SourceRefused, match="Permission denied"):
        FolderSource(str(tmp_path / "locked"), watch=watch).open()


def test_a_folder_without_images_is_refused_unless_it_is_watched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(SourceRefused, match="no images or clips in it") as caught:
        FolderSource(str(tmp_path)).open()
    assert str(caught.value).startswith(f"{tmp_path}: ")
    assert "\n" not in str(caught.value)
    with opened(FolderSource(str(tmp_path), watch=True, sleep=lambda _: None)) as source:
        assert source.read() is None


def test_a_folder_as_a_recording_is_answered_whole(mixed: Path, rig: Callable[..., Rig]) -> None:
    running = rig(SourceSpec("in", str(mixed)), every_s=0.001)
    running.supervisor.start()
    frames = running.all_frames()
    assert [number_of(frame.image) for frame in frames] == [1, 2, 10, 11, 12, 13, 14, 3]
    assert {(frame.clock, frame.captured_at) for frame in frames} == {("media", None)}
    assert running.states == ["connecting", "live", "ended"]


def test_facts_are_of_the_file_that_was_read_last(mixed: Path) -> None:
    (mixed / "f2.jpg").write_text("no")
    with opened(FolderSource(str(mixed))) as source:
        source.read()
        facts = source.facts
        assert (facts.codec, facts.width, facts.height) == ("png", 160, 96)
        assert facts.note == ""
        source.read()
        assert source.facts.note == "damaged and left out so far: 1"


def test_what_a_spec_says(tmp_path: Path) -> None:
    source = make(SourceSpec("in", f"folder:{tmp_path}", watch=True, interval_ns=7))
    assert isinstance(source, FolderSource)
    assert (source._path, source._watch, source._interval_ns) == (str(tmp_path), True, 7)
    assert not source.is_live
    played = make(SourceSpec("in", str(tmp_path), pace="realtime", loop=True))
    assert isinstance(played, Realtime)
    assert played.is_live
    with pytest.raises(ConfigError, match="no pace"):
        make(SourceSpec("in", str(tmp_path), pace="realtime", watch=True))
    with pytest.raises(ConfigError, match="give the folder"):
        make(SourceSpec("in", "folder:"))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' file names are text")
def test_names_that_are_no_text_are_read_and_can_be_told(tmp_path: Path) -> None:
    bad = os.fsencode(tmp_path) + b"/a\xff.png"
    with open(bad, "wb") as file:
        file.write(b"no image")
    still(tmp_path / "b.png", 1)
    _, end = read_all(FolderSource(str(tmp_path)))
    assert "a�.png: not a JPEG" in str(end)
    str(end).encode()


@pytest.fixture(autouse=True)
def _looks_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that took long, on a busy machine, puts off the next: waits that take no time would never reach it."""
    monkeypatch.setattr(folder, "_LOOK_SHARE", 0)


class Watched:
    """A watched folder whose waits take no time; `looks` counts them."""

    def __init__(self, path: Path) -> None:
        self.path, self.looks = path, 0
        self.source = FolderSource(str(path), watch=True, sleep=self._no_sleep)
        self.source.open()

    def _no_sleep(self, wait_s: float) -> None:
        assert 0 < wait_s <= 0.5
        self.looks += 1

    def next(self, wanted_s: float = 0, reads: int = 5) -> list[Picture]:
        """What so many reads give."""
        pictures = [self.source.read(round(wanted_s * NS_PER_S)) for _ in range(reads)]
        return [picture for picture in pictures if picture is not None]

    def numbers(self, reads: int = 5) -> list[int]:
        return [number_of(picture.to_image()) for picture in self.next(reads=reads)]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path)
    yield watched
    watched.source.close()


def test_what_is_there_comes_first_and_then_what_is_new_each_once(tmp_path: Path) -> None:
    still(tmp_path / "b10.png", 10)
    still(tmp_path / "b9.png", 9)
    watched = Watched(tmp_path)
    assert watched.numbers() == [9, 10]
    still(tmp_path / "a.png", 1)
    assert watched.numbers() == [1]
    assert watched.numbers() == []
    watched.source.close()


def test_a_read_without_news_waits_at_most_half_a_second_and_is_life(watched: Watched) -> None:
    assert watched.source.read() is None
    assert watched.looks == 1


def test_a_half_written_file_waits_until_it_is_whole(watched: Watched, tmp_path: Path) -> None:
    whole = still(tmp_path / "a.tmp.png", 5).read_bytes()
    path = tmp_path / "a.png"
    with path.open("wb", buffering=0) as file:
        for begin in range(0, len(whole), len(whole) // 3):
            file.write(whole[begin : begin + len(whole) // 3])
            assert watched.next(reads=1) == []
    assert watched.numbers() == [5]


def test_a_file_that_paused_too_long_is_told_and_read_when_it_is_whole(
    watched: Watched, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = still(tmp_path / "a.tmp.png", 5).read_bytes()
    path = tmp_path / "a.png"
    path.write_bytes(whole[:-30])
    with caplog.at_level(logging.WARNING):
        assert watched.numbers() == []
    assert "a.png: not an image that can be read, or damaged; left out" in caplog.text
    path.write_bytes(whole)
    assert watched.numbers() == [5]
    assert "damaged and left out so far: 1" in watched.source.facts.note


def test_a_file_that_is_written_over_is_a_new_image(watched: Watched, tmp_path: Path) -> None:
    for number in range(3):
        still(tmp_path / "latest.png", number)
        os.utime(tmp_path / "latest.png", ns=(0, number))
        assert watched.numbers() == [number]


def test_a_file_that_changed_while_it_waited_its_turn_is_answered_once(tmp_path: Path) -> None:
    for number in (1, 2):
        still(tmp_path / f"{number}.png", number)
    watched = Watched(tmp_path)
    assert watched.numbers(reads=1) == [1]
    still(tmp_path / "2.png", 22)
    os.utime(tmp_path / "2.png", ns=(0, 5))
    assert watched.numbers(reads=8) == [22]
    watched.source.close()


def test_every_image_of_a_burst_is_kept_and_time_never_goes_back(
    tmp_path: Path, rig: Callable[..., Rig]
) -> None:
    for number in range(30):
        still(tmp_path / f"{number}.png", number)
    spec = SourceSpec("in", str(tmp_path), watch=True, interval_ns=1_000_000)
    running = rig(spec, every_s=10)
    running.supervisor.start()
    frames = running.frames(30)
    assert [number_of(frame.image) for frame in frames] == list(range(30))
    ticks = [frame.t_ns // (10 * NS_PER_S) for frame in frames]
    assert all(later > earlier for earlier, later in pairwise(ticks))
    still(tmp_path / "new.png", 77)
    assert [number_of(frame.image) for frame in running.frames(1)] == [77]
    assert running.supervisor.state == "live"


def test_images_that_nobody_asks_about_pass(watched: Watched, tmp_path: Path) -> None:
    still(tmp_path / "a.png", 1)
    assert watched.next(wanted_s=(2**63 - 1) / NS_PER_S) == []
    still(tmp_path / "b.png", 2)
    assert [picture.t_ns < 100 * NS_PER_S for picture in watched.next()] == [True]


def test_an_image_was_captured_when_its_file_was_written(watched: Watched, tmp_path: Path) -> None:
    written = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    still(tmp_path / "a.png", 1)
    os.utime(tmp_path / "a.png", (written.timestamp(), written.timestamp()))
    still(tmp_path / "b.png", 2)
    ahead = (utc_now() + timedelta(days=400)).timestamp()
    os.utime(tmp_path / "b.png", (ahead, ahead))
    first, second = watched.next()
    assert (first.captured_at, first.clock) == (written, "arrival")
    assert second.captured_at is not None
    assert abs(utc_now() - second.captured_at) < timedelta(seconds=60), "nothing was captured in the future"


def test_a_clip_that_appears_is_read_whole(watched: Watched, tmp_path: Path) -> None:
    movie(tmp_path / "a.mp4", range(5))
    still(tmp_path / "b.png", 50)
    pictures = watched.next(reads=12)
    assert [number_of(p.to_image()) for p in pictures[-1:]] == [50]
    assert [p.clock for p in pictures] == ["media"] * 5 + ["arrival"]
    times = [p.t_ns for p in pictures]
    assert times == sorted(times)
    assert times[4] - times[0] == 4 * NS_PER_S // 10
    assert times[5] - times[0] >= 5 * NS_PER_S // 10


def test_a_folder_that_is_away_for_a_while_is_told_and_nothing_is_answered_again(
    watched: Watched, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    still(tmp_path / "a.png", 1)
    assert watched.numbers() == [1]
    away = tmp_path.with_name(tmp_path.name + "-away")
    tmp_path.rename(away)
    with caplog.at_level(logging.WARNING):
        assert watched.numbers() == []
    assert caplog.text.count("cannot be read: No such file") == 1
    assert "cannot be read now" in watched.source.facts.note
    away.rename(tmp_path)
    still(tmp_path / "b.png", 2)
    assert watched.numbers() == [2]
    assert "cannot be read now" not in watched.source.facts.note


def test_a_folder_is_played_as_a_camera(mixed: Path) -> None:
    source = make(SourceSpec("in", str(mixed), pace="realtime", interval_ns=1_000_000))
    source.open()
    pictures = [source.read() for _ in range(4)]
    assert [number_of(p.to_image()) for p in pictures if p is not None] == [1, 2, 10, 11]
    assert isinstance(pictures[0].to_image(), np.ndarray)
    source.close()
