from pathlib import Path

import pytest

from streamqa.bench import capture_exact
from streamqa.bench.capture_clips import RECORDED, ClipKind, make_clip
from streamqa.bench.capture_exact import Exactness, compare, decoded, fully_decoded, sampled
from streamqa.capture.source import SourceSpec, make_source
from streamqa.types import NS_PER_S

SMALL = (160, 96)


@pytest.mark.parametrize("kind", RECORDED, ids=lambda kind: kind.name)
def test_what_capture_samples_is_exact(kind: ClipKind, tmp_path: Path) -> None:
    clip = make_clip(tmp_path, kind.scaled(SMALL), 3.1)
    assert compare(clip) == Exactness(4, 4, 4, 0)
    assert compare(clip, NS_PER_S // 3) == Exactness(10, 10, 10, 0)


def test_the_planes_of_a_picture_are_reached(tmp_path: Path) -> None:
    """Should this fail since a source's pictures are made otherwise: teach `decoded` how, or luma is not compared."""
    source = make_source(SourceSpec("clip", str(make_clip(tmp_path, RECORDED[0].scaled(SMALL), 0.2))))
    source.open()
    picture = source.read(0)
    assert picture is not None
    frame = decoded(picture)
    source.close()
    assert frame is not None
    assert (frame.width, frame.height) == SMALL


def test_a_picture_without_planes_is_compared_as_rgb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path, RECORDED[0].scaled(SMALL), 1.1)
    monkeypatch.setattr(capture_exact, "decoded", lambda picture: None)
    assert compare(clip) == Exactness(2, None, 2, 0)


def test_wrong_missing_and_extra_pictures_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path, RECORDED[0].scaled(SMALL), 3.1)
    right = list(sampled(clip, NS_PER_S))
    assert right == list(fully_decoded(clip, NS_PER_S))
    assert len({digest.luma for digest in right}) == len(right)
    late = right[1]._replace(t_ns=right[1].t_ns + 1)
    wrong = right[2]._replace(luma=right[0].luma)
    monkeypatch.setattr(capture_exact, "sampled", lambda *_: iter([right[0], late, wrong]))
    assert compare(clip) == Exactness(4, 1, 2, 1)
