from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from streamqa.bench.capture_clips import LIVE, RECORDED, NoisyScene, make_clip, read_number, write_number

SMALL = (160, 96)
KINDS = {kind.name: kind.scaled(SMALL) for kind in (*RECORDED, *LIVE)}


def test_every_kind_has_a_name_of_its_own() -> None:
    assert len(KINDS) == len(RECORDED) + len(LIVE)


def test_a_seed_gives_the_same_pictures_and_another_one_others() -> None:
    first, again, other = (list(NoisyScene(SMALL, seed).pictures(3)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert first[0].shape == (SMALL[1] * 3 // 2, SMALL[0])


def test_the_noise_is_another_one_in_each_picture() -> None:
    before, after = NoisyScene(SMALL).pictures(2)
    assert np.mean(before != after) > 0.5


@pytest.mark.parametrize("number", [0, 1, 1234, 4095])
@pytest.mark.parametrize("height", [96, 720, 1080])
def test_a_number_is_read_as_it_was_written(number: int, height: int) -> None:
    luma = np.full((height, 2 * height), 128, np.uint8)
    write_number(luma, number)
    assert read_number(np.repeat(luma[:, :, None], 3, axis=2)) == number


@pytest.mark.parametrize("name", KINDS)
def test_a_clip_is_what_its_kind_says(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    path = make_clip(tmp_path, kind, 2.2)
    keys, numbers, kinds = [], [], set()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == ("hevc" if kind.codec == "libx265" else "h264")
        for index, frame in enumerate(container.decode(stream)):
            assert frame.pts * stream.time_base * 30 == index
            keys += [index] if frame.key_frame else []
            kinds.add(frame.pict_type)
            numbers.append(read_number(frame.to_ndarray(format="rgb24")))
    assert numbers == list(range(66))
    assert keys == list(range(0, 66, kind.gop))
    assert (PictureType.B in kinds) == ("bframes=3" in kind.codec_options)


def test_a_clip_is_made_once_and_whole(tmp_path: Path) -> None:
    kind = KINDS["live-720"]
    path = make_clip(tmp_path, kind, 0.2)
    path.write_bytes(b"kept")
    assert make_clip(tmp_path, kind, 0.2) == path
    assert path.read_bytes() == b"kept"
    assert list(tmp_path.iterdir()) == [path]


def test_a_clip_that_cannot_be_numbered_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 4096 pictures"):
        make_clip(tmp_path, KINDS["live-720"], 137)
