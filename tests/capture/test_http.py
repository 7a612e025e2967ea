"""MJPEG, HLS and files over HTTP, from a server that can fail in all the ways that servers do."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from streamqa.capture.encode import write_video
from streamqa.capture.source import Source, SourceSpec, make_source
from streamqa.capture.stream import StreamSource
from streamqa.errors import SourceEnded, SourceError, SourceRefused, SourceUnavailable
from tests.http_server import HttpCamera

from .conftest import number_of, numbered


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpCamera]:
    folder = tmp_path_factory.mktemp("web")
    images = [numbered(i, 40) for i in range(120)]
    write_video(folder / "clip.mp4", images, 30, options={"bf": "0", "g": "15", "sc_threshold": "0"})
    (folder / "hls").mkdir()
    one = HttpCamera(folder / "clip.mp4", images, folder / "hls")
    yield one
    one.close()


def stream(web: HttpCamera, path: str, user: str = "") -> Source:
    return make_source(SourceSpec("cam", web.url(path, user)))


def read_some(source: Source, count: int) -> list[int]:
    """The numbers of the next pictures, from open to close."""
    found: list[int] = []
    try:
        source.open()
        while len(found) < count:
            if (picture := source.read()) is not None:
                found.append(number_of(picture.to_image()))
    finally:
        source.close()
    return found


def exhaust(source: Source) -> None:
    for _ in range(10_000):
        source.read()


def failure(source: Source) -> SourceError:
    """How it ends."""
    with pytest.raises(SourceError) as caught:
        read_some(source, 10_000)
    return caught.value


@pytest.mark.parametrize("path", ["mjpeg", "live.m3u8", "vod.m3u8"])
def test_the_pictures_of_a_stream(web: HttpCamera, path: str) -> None:
    source = stream(web, path)
    assert source.is_live
    found = read_some(source, 45)
    assert found == [(found[0] + i) % 120 for i in range(45)]


def test_a_live_playlist_is_followed_when_new_segments_appear(web: HttpCamera) -> None:
    found = read_some(stream(web, "live.m3u8"), 120)  # the three segments at the start hold 90
    assert found == [(found[0] + i) % 120 for i in range(120)]


def test_a_file_is_a_recording(web: HttpCamera) -> None:
    source = stream(web, "clip.mp4")
    assert not source.is_live
    assert read_some(source, 120) == list(range(120))
    assert isinstance(failure(source), SourceEnded)


@pytest.mark.parametrize("path", ["short", "cut"])
def test_the_end_of_a_live_stream_is_a_disconnect(web: HttpCamera, path: str) -> None:
    assert len(read_some(stream(web, path), 9)) == 9
    assert isinstance(failure(stream(web, path)), SourceUnavailable)


def test_a_connection_that_breaks_off_is_a_disconnect(web: HttpCamera) -> None:
    source = stream(web, "mjpeg")
    source.open()
    source.read()
    web.disconnect()
    with pytest.raises(SourceUnavailable):
        exhaust(source)
    source.close()


@pytest.mark.parametrize("path", ["mjpeg", "live.m3u8"])
def test_a_password_in_the_url_is_used_and_never_told(web: HttpCamera, path: str) -> None:
    assert read_some(stream(web, f"secret/{path}", "admin:s3cret"), 3)
    wrong = failure(stream(web, f"secret/{path}", "admin:wr0ng-s3cret"))
    assert isinstance(wrong, SourceRefused)
    assert "401" in str(wrong)
    assert "s3cret" not in str(wrong)


@pytest.mark.parametrize(
    ("path", "words"), [("nothing.mp4", "404"), ("nothing", "404"), ("secret/mjpeg", "401")]
)
def test_what_asking_again_does_not_help_is_refused(web: HttpCamera, path: str, words: str) -> None:
    error = failure(stream(web, path))
    assert isinstance(error, SourceRefused)
    assert words in str(error)


@pytest.mark.parametrize("path", ["hang", "trickle", "stopped.m3u8"])
def test_a_server_that_says_nothing_more_is_given_up(web: HttpCamera, path: str) -> None:
    started = time.monotonic()
    error = failure(StreamSource(web.url(path), timeout_s=0.5))
    assert isinstance(error, SourceUnavailable)
    assert time.monotonic() - started < 10
