from pathlib import Path

from streamqa.bench.clips import SMALL, scene_clip, small_clip
from streamqa.capture.source import SourceSpec, make_source
from streamqa.errors import SourceEnded


def pictures(path: Path) -> list[tuple[int, tuple[int, ...]]]:
    source, found = make_source(SourceSpec("clip", str(path))), []
    source.open()
    try:
        while True:
            picture = source.read()
            found.append((picture.t_ns, picture.to_image().shape))
    except SourceEnded:
        return found
    finally:
        source.close()


def test_a_scene_clip_is_a_camera_s(tmp_path: Path) -> None:
    found = pictures(scene_clip(tmp_path / "a.mp4", 0.4, fps=10))
    assert found == [(n * 100_000_000, (360, 640, 3)) for n in range(4)]


def test_a_small_clip_has_exactly_its_frames(tmp_path: Path) -> None:
    width, height = SMALL
    found = pictures(small_clip(tmp_path / "b.mp4", 30, fps=25))
    assert found == [(n * 40_000_000, (height, width, 3)) for n in range(30)]
