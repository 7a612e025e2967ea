"""The URL grammar, what `redact` hides, and the contract that every source keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from streamqa.capture.folder import FolderSource
from streamqa.capture.pace import Realtime
from streamqa.capture.scene import SceneSource
from streamqa.capture.source import Picture, Source, SourceFacts, SourceSpec, kind_of, make_source, redact
from streamqa.capture.video import FileSource
from streamqa.capture.webcam import WebcamSource
from streamqa.errors import ConfigError, SourceError
from streamqa.types import Frame

from .test_webcam import FakeCapture

MAKERS: dict[str, Callable[[Path], Source]] = {
    "file": lambda clip: FileSource(str(clip)),
    "realtime": lambda clip: Realtime(FileSource(str(clip)), loop=True),
    "scene": lambda clip: SceneSource(3),
    "webcam": lambda clip: WebcamSource(0, lambda index: FakeCapture()),
    "folder": lambda clip: FolderSource(str(stills(clip.parent / "stills"))),
    "watched": lambda clip: Patient(FolderSource(str(stills(clip.parent / "stills")), watch=True)),
}


def stills(folder: Path) -> Path:
    """Six images in a folder."""
    folder.mkdir(exist_ok=True)
    for number in range(6):
        Pillow.new("RGB", (64, 48)).save(folder / f"{number}.png")
    return folder


class Patient:
    """A source that is asked again when it has nothing yet."""

    def __init__(self, source: Source) -> None:
        self._source, self.is_live, self.facts = source, source.is_live, SourceFacts()
        self.open, self.close = source.open, source.close

    def read(self, wanted_ns: int = 0) -> Picture:
        while (picture := self._source.read(wanted_ns)) is None:
            pass
        return picture


@pytest.fixture(params=MAKERS)
def source(request: pytest.FixtureRequest, clip: Path) -> Source:
    return MAKERS[request.param](clip)


def test_time_never_goes_back_and_pictures_make_frames(source: Source) -> None:
    source.open()
    last = 0
    for index in range(5):
        picture = source.read()
        assert picture.t_ns >= last
        last = picture.t_ns
        frame = Frame("a", index, picture.t_ns, picture.captured_at, picture.clock, 0, picture.to_image())
        assert frame.image.flags.c_contiguous
        assert frame.image.flags.writeable, "torch warns about arrays that are not"
        assert (picture.captured_at is None) == (picture.clock == "media")
    source.close()


def test_closing_is_always_possible(source: Source) -> None:
    source.close()
    source.open()
    source.close()
    source.close()


def test_a_closed_source_says_so_and_opens_again_from_the_start(source: Source) -> None:
    source.open()
    source.read()
    source.close()
    with pytest.raises(SourceError):
        source.read()
    source.open()
    assert source.read().t_ns < 10**9
    source.close()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("webcam:0", "webcam"),
        ("/dev/video1", "webcam"),
        ("scene:gate?seed=1", "scene"),
        ("rtsp://h/x", "video"),
        ("RTSP://h/x", "video"),
        ("https://h/x.m3u8", "video"),
        ("clip.mp4", "video"),
        ("12:30.mp4", "video"),
        ("C:/clip.mp4", "video"),
        ("/dev/video1.mp4", "video"),
        ("folder:/data/in", "folder"),
        ("Folder:in", "folder"),
    ],
)
def test_what_a_url_names(url: str, kind: str) -> None:
    assert kind_of(url) == kind
    assert make_source(SourceSpec("a", url)) is not None


def test_a_path_that_is_a_folder_is_read_as_one(tmp_path: Path) -> None:
    assert isinstance(make_source(SourceSpec("a", str(tmp_path))), FolderSource)
    assert isinstance(make_source(SourceSpec("a", f"folder:{tmp_path}")), FolderSource)
    assert isinstance(make_source(SourceSpec("a", str(tmp_path / "a.mp4"))), FileSource)


@pytest.mark.parametrize("url", ["", "   ", "gopher://u:s3cret@h/x"])
def test_what_names_nothing(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        kind_of(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:pw@cam/x", "rtsp://***@cam/x"),
        ("rtsp://admin@cam/x", "rtsp://***@cam/x"),
        (
            "401 for 'rtsp://a:b@h:554/x' and 'http://c:d@i/y'",
            "401 for 'rtsp://***@h:554/x' and 'http://***@i/y'",
        ),
        ("rtsp://a:p@ss@h/x", "rtsp://***@h/x"),
        ("rtsp://a:p/ss@h/x", "rtsp://***@h/x"),
        ("rtsp://a:p'\"s@h/x", "rtsp://***@h/x"),
        ("http://h/x?user=bob&password=pw&z=1", "http://h/x?user=***&password=***&z=1"),
        ("http://h/x?PWD=pw", "http://h/x?PWD=***"),
        ("http://h/a@b", "http://h/a@b"),
        ("clip.mp4: no such file", "clip.mp4: no such file"),
    ],
)
def test_what_is_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


@given(st.text(st.characters(exclude_characters="@", exclude_categories=["Z", "C"]), min_size=1, max_size=12))
def test_no_password_gets_through(middle: str) -> None:
    assert f"s3{middle}cret" not in redact(f"failed: 'rtsp://admin:s3{middle}cret@10.0.0.7:554/stream1'")


@pytest.mark.parametrize(
    "text",
    ["rtsp://u:my s3cret@h/x", "http://h/x?access_token=s3cret", "http://h/x?a=1&api-key=s3cret"],
)
def test_secrets_in_less_usual_places_are_hidden(text: str) -> None:
    assert "s3cret" not in redact(text)
