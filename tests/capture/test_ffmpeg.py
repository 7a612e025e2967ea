from __future__ import annotations

import errno
import traceback
from pathlib import Path

import av
import numpy as np
import pytest

from streamqa.capture import ffmpeg
from streamqa.capture.ffmpeg import explain, open_input
from streamqa.errors import SourceError, SourceRefused, SourceUnavailable

from .conftest import SIZE


def silent_song(path: Path, cover: Path | None = None) -> Path:
    """A second of silence, with a cover if one is given."""
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac" if path.suffix == ".m4a" else "flac", rate=16000)
        picture = None
        if cover is not None:
            picture = container.add_stream("png")
            picture.width = picture.height = 32
            picture.pix_fmt = "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), "s16", "mono")
        frame.sample_rate = 16000
        if picture is not None:
            container.mux(
                picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24"))
            )
            container.mux(picture.encode(None))
        resampler = av.AudioResampler(audio.format, audio.layout, 16000, frame_size=1024)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(audio.encode(part))
        container.mux(audio.encode(None))
    return path


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (av.error.HTTPUnauthorizedError, SourceRefused, "password"),
        (av.error.HTTPForbiddenError, SourceRefused, "403"),
        (av.error.HTTPNotFoundError, SourceRefused, "404"),
        (av.error.HTTPBadRequestError, SourceRefused, "refuses"),
        (av.error.ProtocolNotFoundError, SourceRefused, "protocol"),
        (av.error.TimeoutError, SourceUnavailable, "no data for 3 s"),
        (av.error.ExitError, SourceUnavailable, "no data for 3 s"),
        (av.error.HTTPServerError, SourceUnavailable, "5xx"),
        (av.error.EOFError, SourceUnavailable, "closed the connection"),
        (av.error.InvalidDataError, SourceUnavailable, "no video that FFmpeg knows"),
        (av.error.UnknownError, SourceUnavailable, "words of the system"),
    ],
)
def test_each_error_says_who_must_act(error: type[av.error.FFmpegError], kind: type, words: str) -> None:
    ours = explain(error(1, "words of the system", "rtsp://u:s3cret@h/x"), "cam", 3)
    assert type(ours) is kind
    assert words in str(ours)
    assert str(ours).startswith("cam: ")
    assert "s3cret" not in str(ours)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ECONNREFUSED, "connection refused"),
        (errno.EHOSTUNREACH, "no way to its address"),
        (errno.ENETUNREACH, "no way to its network"),
        (errno.ECONNRESET, "closed the connection"),
        (errno.EPIPE, "closed the connection"),
        (errno.EPROTONOSUPPORT, "set transport"),
        (errno.EINVAL, "check the URL"),
        (errno.EIO, "failed or broke"),
    ],
)
def test_what_the_system_says_in_plain_words(number: int, words: str) -> None:
    with pytest.raises(av.error.FFmpegError) as caught:
        av.error.err_check(-number, "rtsp://u:s3cret@h/x")
    ours = explain(caught.value, "cam", 3)
    assert isinstance(ours, SourceUnavailable)
    assert words in str(ours)


def test_a_timeout_of_unknown_length_is_said_without_one() -> None:
    assert "no data;" in str(explain(av.error.TimeoutError(1, "late"), "cam", None))


def test_a_song_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="no video in it, only audio"):
        open_input(str(silent_song(tmp_path / "a.m4a")), "a.m4a")


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    song = silent_song(tmp_path / "a.flac", cover=tmp_path)
    with av.open(str(song)) as container:
        assert container.streams.video, "the test's song has its cover"
    with pytest.raises(SourceRefused, match="no video in it"):
        open_input(str(song), "a.flac")


def test_text_is_not_drawn_as_a_video(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n" * 100)
    with pytest.raises(SourceError, match=r"^notes: "):
        open_input(str(tmp_path / "notes.txt"), "notes")


def test_no_secret_in_the_text_nor_in_the_traceback_nor_behind_it() -> None:
    with pytest.raises(SourceUnavailable) as caught:
        open_input("rtsp://admin:s3cret@127.0.0.1:1/x", "rtsp://***@127.0.0.1:1/x")
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)).replace(
        '"rtsp://admin:s3cret@127.0.0.1:1/x"', "the line of this test itself"
    )


def test_a_playlist_whose_segments_never_come_does_not_hang(tmp_path: Path) -> None:
    playlist = tmp_path / "a.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n")
    with pytest.raises(SourceUnavailable, match=r"no data for 0\.5 s"):
        open_input(f"file:{playlist}", "a.m3u8", timeout_s=(0.5, None))


def test_pictures_of_absurd_size_are_refused(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    width, height = SIZE
    monkeypatch.setattr(ffmpeg, "_MOST_PIXELS", width * height - 1)
    with pytest.raises(SourceRefused, match=r"a: pictures of 160x96 are too large"):
        open_input(f"file:{clip}", "a")


def test_a_picture_that_grows_absurdly_on_the_way_is_not_decoded(clip: Path) -> None:
    """The decoder holds to the limit, too, whatever the file said at first."""
    container, stream = open_input(f"file:{clip}", "a")
    assert stream.codec_context.options["max_pixels"] == "100000000"
    stream.codec_context.options = {"max_pixels": str(SIZE[0] * SIZE[1] - 1)}
    first = next(container.demux(stream))
    with pytest.raises(av.error.FFmpegError):
        stream.codec_context.decode(first)
    container.close()
