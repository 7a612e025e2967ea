"""Five hundred damaged recordings: each ends, in time, with pictures or with words."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from streamqa.capture.encode import write_video
from streamqa.types import Frame
from tests.damage import KINDS

from .conftest import SIZE, Rig, numbered

MakeRig = Callable[..., Rig]
PICTURES = 90
VARIANTS = 500
GROUP = 25
TIMEOUT_S = 20  # for each; a whole clip takes 0.05 s


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same pictures as H.264 with B-frames in mp4, in a transport stream, and as HEVC in Matroska."""
    folder = tmp_path_factory.mktemp("whole")
    images = [numbered(i, 40) for i in range(PICTURES)]
    options = {"x264-params": "bframes=3:b-adapt=0:scenecut=0", "g": "15"}
    write_video(folder / "clip.mp4", images, 15, options=options)
    with av.open(str(folder / "clip.mp4")) as given, av.open(str(folder / "clip.ts"), "w") as written:
        origin = given.streams.video[0]
        copy = written.add_stream_from_template(origin)
        for packet in given.demux(origin):
            if packet.dts is not None:
                packet.stream = copy
                written.mux(packet)
    with av.open(str(folder / "clip.mkv"), "w") as written:
        stream = written.add_stream("libx265", rate=15, options={"x265-params": "keyint=15:log-level=none"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for image in images:
            written.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        written.mux(stream.encode(None))
    return {path.suffix: path.read_bytes() for path in sorted(folder.iterdir())}


def read(rig: MakeRig, path: Path) -> tuple[list[Frame], str]:
    """Every picture of a file, and the reason for its end."""
    one = rig(str(path))
    one.supervisor.start()
    frames = one.all_frames(TIMEOUT_S)
    assert one.supervisor.stop(TIMEOUT_S), f"{path.name}: its thread hangs"
    return frames, next(status.reason for status in reversed(one.statuses) if status.reason != "stopped")


def group(number: int) -> range:
    return range(number * GROUP, (number + 1) * GROUP)


@pytest.mark.parametrize(
    "variants",
    [
        # Every tenth, and so each clip with each kind of damage, in the default run.
        *(pytest.param(range(start, VARIANTS, 20), id=f"tenth-{start}") for start in (0, 10)),
        *(pytest.param(group(n), id=f"group-{n}", marks=pytest.mark.slow) for n in range(VARIANTS // GROUP)),
    ],
)
def test_damage_ends_in_pictures_or_in_words(
    clips: dict[str, bytes], rig: MakeRig, tmp_path: Path, variants: range
) -> None:
    silent, quiet = [], []
    for variant in variants:
        rng = random.Random(variant)
        suffix, damage = rng.choice(sorted(clips)), KINDS[variant // 10 % len(KINDS)]
        path = tmp_path / f"{variant}-{damage.__name__}{suffix}"
        path.write_bytes(damage(clips[suffix], rng))
        frames, reason = read(rig, path)
        times = [frame.t_ns for frame in frames]
        assert times == sorted(set(times)), path.name
        assert len(frames) <= 2 * PICTURES, path.name
        assert "unexpected" not in reason, f"{path.name}: {reason}"
        assert "\n" not in reason
        assert path.name in reason, f"{path.name}: {reason}"
        if not frames and reason.endswith(": end"):
            silent.append(path.name)
        if len(frames) < PICTURES and reason.endswith(": end"):
            quiet.append(path.name)
        path.unlink()
    assert not silent, "no picture, and not a word about it"
    # 17 of the 500: a transport stream cut between two pictures is a whole one; HEVC pictures that the decoder passes
    # over; so much of a clip gone that what is left is not even. Before `gaps` it was 141.
    assert len(quiet) <= len(variants) // 8, quiet


def test_the_whole_clips_have_every_picture_and_end_well(
    clips: dict[str, bytes], rig: MakeRig, tmp_path: Path
) -> None:
    for suffix, data in clips.items():
        path = tmp_path / f"whole{suffix}"
        path.write_bytes(data)
        frames, reason = read(rig, path)
        assert (len(frames), reason) == (PICTURES, f"{path}: end")
