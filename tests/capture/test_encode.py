from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamqa.capture.encode import write_video

GREY = np.full((48, 64, 3), 128, np.uint8)


@pytest.mark.parametrize("fps", [15, 30, Fraction(30000, 1001), Fraction(1, 2)])
def test_every_image_has_its_exact_time(tmp_path: Path, fps: int | Fraction) -> None:
    path = tmp_path / "a.mp4"
    assert write_video(path, [GREY] * 9, fps, options={"bf": "3"}) == 9
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
    assert times == [i / Fraction(fps) for i in range(9)]


def test_colours_survive(tmp_path: Path) -> None:
    image = GREY.copy()
    image[:, :32] = (220, 40, 60)
    write_video(tmp_path / "a.mp4", [image], 10, crf=10)
    with av.open(str(tmp_path / "a.mp4")) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(shown.astype(int) - image)[:, 4:28].mean() < 4
    assert np.abs(shown.astype(int) - image)[:, 36:].mean() < 4


def test_the_same_images_give_the_same_file(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 255, (5, 48, 64, 3), dtype=np.uint8)
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, images, 15)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize(
    ("images", "words"),
    [([], "no images"), ([GREY[:47]], "even"), ([GREY, GREY[:40]], "image 2 is 64x40, the first is 64x48")],
)
def test_what_cannot_be_encoded_is_told_and_leaves_no_file(
    tmp_path: Path, images: list[np.ndarray], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        write_video(tmp_path / "a.mp4", images, 10)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_video(tmp_path / "no" / "a.mp4", [GREY], 10)
