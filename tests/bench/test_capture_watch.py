import io
import json
import sys
from collections.abc import Iterator

import pytest

from streamqa.bench.camera_process import CameraProcess
from streamqa.bench.capture_clips import LIVE, make_clip
from streamqa.bench.capture_watch import Taken, Watch, main
from streamqa.errors import StreamQAError
from streamqa.types import NS_PER_S


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CameraProcess]:
    clip = make_clip(tmp_path_factory.mktemp("clips"), LIVE[0].scaled((160, 96)), 2.0)
    camera = CameraProcess(clip)
    camera.start()
    yield camera
    camera.kill()


def test_frames_are_told_with_the_picture_that_they_are(camera: CameraProcess) -> None:
    watch = Watch(every_ns=NS_PER_S // 10)
    watch.add("cam0", camera.url(path="/cam0"))
    found = watch.measure(1.0)
    watch.close()
    frames = [Taken(*frame) for frame in found["frames"]]
    assert {frame.source for frame in frames} == {"cam0"}
    assert len({frame.number for frame in frames}) >= 2
    assert all(frame.taken_ns >= frame.received_ns for frame in frames)
    assert found["cpu_s"] > 0
    assert found["wall_s"] >= 1
    assert (found["states"], found["dropped"]) == ([], 0)


def test_a_camera_that_gives_nothing_is_an_error_with_its_states() -> None:
    watch = Watch()
    with pytest.raises(StreamQAError, match=r"no frame of cam0: .*connection refused"):
        watch.add("cam0", "rtsp://127.0.0.1:9/cam", first_frame_s=0.3)
    watch.close()


def test_commands_and_answers(
    camera: CameraProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = f"watch a {camera.url()}\nmeasure 0.1\ndance\nmeasure long\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(commands))
    main()
    watching, measured, unknown, wrong = map(json.loads, capsys.readouterr().out.splitlines())
    assert watching == {"watching": "a"}
    assert measured["wall_s"] >= 0.1
    assert unknown == {"error": "no such command: dance"}
    assert "long" in wrong["error"]
