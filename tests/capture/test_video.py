from __future__ import annotations

import functools
import http.server
import os
import tempfile
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamqa.capture import video
from streamqa.capture.encode import write_video
from streamqa.capture.pace import Realtime
from streamqa.capture.source import Picture, SourceFacts, SourceSpec
from streamqa.capture.stream import StreamSource
from streamqa.capture.video import FileSource, make
from streamqa.errors import SourceEnded, SourceError, SourceRefused, SourceUnavailable

from .conftest import SIZE, as_somebody, number_of, numbered

S = 10**9


def read_all(source: FileSource) -> tuple[list[int], list[int], SourceError]:
    """Times in ns and numbers of all pictures, and how it ended."""
    times, numbers = [], []
    source.open()
    try:
        while True:
            picture = source.read()
            times.append(picture.t_ns)
            numbers.append(number_of(picture.to_image()))
    except SourceError as end:
        return times, numbers, end
    finally:
        source.close()


@pytest.mark.parametrize("fps", [15, 30, Fraction(30000, 1001)])
@pytest.mark.parametrize("bframes", ["0", "3"])
def test_every_picture_to_the_last_at_its_exact_time(
    tmp_path: Path, fps: int | Fraction, bframes: str
) -> None:
    write_video(tmp_path / "a.mp4", (numbered(i) for i in range(47)), fps, options={"bf": bframes})
    times, numbers, end = read_all(FileSource(str(tmp_path / "a.mp4")))
    assert numbers == list(range(47))
    assert times == [int(i / Fraction(fps) * S) for i in range(47)]
    assert isinstance(end, SourceEnded)


def remux(source: Path, target: Path, offset_s: int = 0) -> Path:
    """The same packets in another container, later by `offset_s`."""
    exact = {"fflags": "+bitexact"}  # else Matroska has random numbers in it
    with av.open(str(source)) as given, av.open(str(target), "w", options=exact) as written:
        stream = given.streams.video[0]
        copy = written.add_stream_from_template(stream)
        for packet in given.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                packet.pts += int(offset_s / packet.time_base)
                packet.dts += int(offset_s / packet.time_base)
                written.mux(packet)
    return target


@pytest.mark.parametrize("suffix", ["mkv", "mov", "ts"])
def test_other_containers_and_starts_that_are_not_zero(clip: Path, tmp_path: Path, suffix: str) -> None:
    path = remux(clip, tmp_path / f"a.{suffix}", offset_s=30)
    times, numbers, end = read_all(FileSource(str(path)))
    assert numbers == list(range(90))
    assert isinstance(end, SourceEnded), end
    exact = [i * S // 15 for i in range(90)]
    unit = {"mkv": S // 1000, "avi": S // 15}.get(
        suffix, 1
    )  # Matroska stamps milliseconds, AVI counts frames
    assert max(abs(time - right) for time, right in zip(times, exact, strict=True)) <= unit


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
def test_containers_without_timestamps_count_frames(tmp_path: Path, codec: str) -> None:
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for i in range(25):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(i), "rgb24")))
        container.mux(stream.encode(None))
    times, numbers, end = read_all(FileSource(str(tmp_path / "a.avi")))
    assert numbers == list(range(25))
    assert times == [i * S // 10 for i in range(25)]
    assert isinstance(end, SourceEnded)


def test_odd_names_are_names(clip: Path, tmp_path: Path) -> None:
    for name in ("12:30.mp4", "concat:a.mp4", "a b%03d?.mp4", "ümläut.mp4"):
        path = tmp_path / name
        path.write_bytes(clip.read_bytes())
        assert len(read_all(FileSource(str(path)))[0]) == 90


def test_pictures_are_converted_only_when_asked(clip: Path) -> None:
    source = FileSource(str(clip))
    source.open()
    first, second = source.read(), source.read()
    assert [number_of(second.to_image()), number_of(first.to_image())] == [1, 0]
    assert (first.captured_at, first.clock) == (None, "media")
    source.close()


def test_only_the_wanted_pictures_come_and_facts_are_known(clip: Path) -> None:
    source = FileSource(str(clip))
    assert source.facts == SourceFacts()
    source.open()
    assert (source.facts.codec, source.facts.width, source.facts.height) == ("h264", *SIZE)
    pictures = [source.read(k * 900_000_000) for k in range(7)]
    assert [number_of(picture.to_image()) for picture in pictures if picture] == [0, 14, 27, 41, 54, 68, 81]
    with pytest.raises(SourceEnded):
        source.read(6 * S)
    assert source.end_ns == 6 * S
    source.close()
    facts = source.facts
    assert (facts.fps, facts.gop_s) == (pytest.approx(15, rel=0.01), pytest.approx(1, rel=0.2))
    assert (facts.clock, facts.decoder, facts.note) == ("media", "cpu", "")


def test_a_read_that_takes_long_shows_life(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_PATIENCE_S", 0)
    source = FileSource(str(clip))
    source.open()
    reads = [source.read(5 * S) for _ in range(30)]
    assert reads == [None] * 30
    while (picture := source.read(5 * S)) is None:
        pass
    assert picture.t_ns == 5 * S
    source.close()


def junk(path: Path, kind: str) -> Path:
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not a video\n" * 200)
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(3).bytes(50_000))
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file"),
        ("empty", "an empty file"),
        ("text", "not a video"),
        ("noise", "not a video"),
        ("directory", "a directory; give a video file"),
        ("fifo", "not a regular file"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, kind: str, words: str) -> None:
    path = junk(tmp_path / "a.mp4", kind)
    with pytest.raises(SourceRefused, match=words) as caught:
        FileSource(str(path)).open()
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_path_with_a_null_is_refused() -> None:
    with pytest.raises(SourceRefused, match="not a path"):
        FileSource("a\0b.mp4").open()


def test_an_unreadable_file_is_refused(clip: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path: nobody else may even look into that
        Path(folder).chmod(0o755)
        path = Path(folder) / "a.mp4"
        path.write_bytes(clip.read_bytes())
        path.chmod(0)
        with as_somebody(), pytest.raises(SourceRefused, match="permission"):
            FileSource(str(path)).open()


def test_a_truncated_file_gives_what_it_has_and_says_that_the_rest_is_missing(
    clip: Path, tmp_path: Path
) -> None:
    data = clip.read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    times, numbers, end = read_all(FileSource(str(tmp_path / "a.mp4")))
    assert 20 < len(numbers) < 80
    assert numbers == list(range(len(numbers)))
    assert times == [i * S // 15 for i in numbers]
    assert isinstance(end, SourceUnavailable)
    assert "missing at the end" in str(end)


def test_a_file_cut_before_its_index_is_refused(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(clip.read_bytes()[:500])
    with pytest.raises(SourceRefused, match="not a video that FFmpeg can read, or damaged"):
        read_all(FileSource(str(tmp_path / "a.mp4")))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("seed", range(3))
def test_damage_in_the_middle_leaves_what_is_before_and_after(
    clip: Path, tmp_path: Path, suffix: str, seed: int
) -> None:
    path = remux(clip, tmp_path / f"a.{suffix}")
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    middle = len(data) * 45 // 100
    for at in rng.integers(middle, middle + len(data) // 12, 60):
        data[at] ^= int(rng.integers(1, 256))
    path.write_bytes(data)
    times, numbers, end = read_all(FileSource(str(path)))
    assert numbers[:30] == list(range(30))
    assert numbers[-1] == 89
    assert len(numbers) >= 55
    assert times == sorted(times)
    assert isinstance(end, SourceUnavailable)
    assert "damaged" in str(end)
    right = [abs(time - number * S // 15) <= S // 500 for time, number in zip(times, numbers, strict=True)]
    assert all(right), "what is given is what belongs to its time"


def test_a_file_of_damage_only_is_refused_at_its_end(clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    begin = data.index(b"mdat") + 4
    data[begin:] = np.random.default_rng(5).bytes(len(data) - begin)
    (tmp_path / "a.mp4").write_bytes(data)
    times, _, end = read_all(FileSource(str(tmp_path / "a.mp4")))
    assert times == []
    assert isinstance(end, SourceRefused)
    assert "not one picture" in str(end)


def damaged(data: bytes, seed: int) -> bytes:
    """Cut off, or with bytes changed anywhere, or with bits flipped in the index at the front."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    if seed % 3 == 0:
        return data[: int(rng.integers(1, len(data)))]
    if seed % 3 == 1:
        for at in rng.integers(0, len(data), int(rng.integers(1, 40))):
            changed[at] ^= int(rng.integers(1, 256))
    else:
        for at in rng.integers(0, 3000, int(rng.integers(1, 8))):
            changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def test_two_hundred_damaged_files_end_in_words_of_ours(clip: Path, tmp_path: Path) -> None:
    data = clip.read_bytes()
    path = tmp_path / "a.mp4"
    endings: dict[type, int] = {}
    for seed in range(200):
        path.write_bytes(damaged(data, seed))
        source = FileSource(str(path))
        try:
            times, _, end = read_all(source)
        except SourceRefused as error:
            times, end = [], error
        assert times == sorted(times), seed
        assert str(end).startswith(str(path)), seed
        assert "\n" not in str(end), seed
        endings[type(end)] = endings.get(type(end), 0) + 1
    assert endings[SourceUnavailable] > 50, "most still give pictures, and say that they are damaged"


def test_a_photograph_is_a_very_short_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.png"), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(5), "rgb24")))
        container.mux(stream.encode(None))
    times, numbers, end = read_all(FileSource(str(tmp_path / "a.png")))
    assert (times, numbers) == ([0], [5])
    assert isinstance(end, SourceEnded)


def test_reading_what_is_not_open_is_an_error_of_ours(clip: Path) -> None:
    with pytest.raises(SourceUnavailable, match="not open"):
        FileSource(str(clip)).read()


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (SourceSpec("a", "a.mp4"), FileSource),
        (SourceSpec("a", "a.mp4", pace="realtime"), Realtime),
        (SourceSpec("a", "http://h/a.mp4?x=1"), FileSource),
        (SourceSpec("a", "http://h/a.mp4", pace="realtime"), Realtime),
        (SourceSpec("a", "http://h/live.m3u8"), StreamSource),
        (SourceSpec("a", "https://h/mjpeg"), StreamSource),
        (SourceSpec("a", "rtsp://h/a.mp4"), StreamSource),
        (SourceSpec("a", "RTSPS://h/a"), StreamSource),
    ],
)
def test_which_are_recordings_and_which_are_live(spec: SourceSpec, kind: type) -> None:
    assert type(make(spec)) is kind


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that wants a password below /locked."""

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/locked") and self.headers.get("Authorization") is None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="cam"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/locked"):
            self.send_error(401)
        else:
            super().do_GET()


@pytest.fixture
def web(clip: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(clip.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(5)


def test_a_recording_from_a_web_server(web: str) -> None:
    times, numbers, end = read_all(FileSource(f"http://{web}/clip.mp4"))
    assert numbers == list(range(90))
    assert times[-1] == 89 * S // 15
    assert isinstance(end, SourceEnded)


def test_the_end_of_a_live_stream_is_a_disconnect(web: str) -> None:
    source = StreamSource(f"http://{web}/clip.mp4")
    source.open()
    pictures: list[Picture] = []
    while len(pictures) < 90:
        pictures += filter(None, [source.read()])
    with pytest.raises(SourceUnavailable, match="the stream ended"):
        source.read()
    source.close()
    assert [p.t_ns for p in pictures] == sorted(p.t_ns for p in pictures)
    assert all(p.clock == "arrival" and p.captured_at is not None for p in pictures)


@pytest.mark.parametrize("kind", [FileSource, StreamSource])
@pytest.mark.parametrize(("path", "words"), [("nothing.mp4", "404"), ("locked/a.mp4", "401")])
def test_a_web_servers_no_is_a_refusal(web: str, kind: type, path: str, words: str) -> None:
    with pytest.raises(SourceRefused, match=words) as caught:
        kind(f"http://admin:s3cret@{web}/{path}").open()
    assert "s3cret" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    import socket
    import time

    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        for scheme in ("http", "rtsp"):
            with pytest.raises(SourceUnavailable) as caught:
                StreamSource(
                    f"{scheme}://admin:s3cret@127.0.0.1:{silent.getsockname()[1]}/x", timeout_s=0.5
                ).open()
            assert "s3cret" not in str(caught.value)
        assert time.monotonic() - begin < 6


def test_a_clip_that_was_trimmed_without_encoding_it_anew_is_whole(clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    edit = data.index(b"elst") + 12  # duration and start, 32 bits each
    duration, start = (int.from_bytes(data[edit + at : edit + at + 4]) for at in (0, 4))
    for at, number in (
        (0, duration // 3),
        (4, start + 4 * 15360),
    ):  # the encoder's own time base, from 4 s on
        data[edit + at : edit + at + 4] = number.to_bytes(4)
    (tmp_path / "a.mp4").write_bytes(data)
    _, numbers, end = read_all(FileSource(str(tmp_path / "a.mp4")))
    assert 0 < len(numbers) < 90
    assert isinstance(end, SourceEnded)
