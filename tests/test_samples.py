"""What lies in `samples/` is what the README says it is, and runs."""

import json
import subprocess
import sys
from pathlib import Path

import av

from tests.cli.process import ENVIRONMENT, SAMPLES
from tests.test_service import a_running_service


def test_the_sample_clip_is_small_and_has_a_truth_for_each_frame() -> None:
    assert (SAMPLES / "gate.mp4").stat().st_size < 3_000_000
    with av.open(str(SAMPLES / "gate.mp4")) as container:
        times = [round(float(frame.pts * frame.time_base), 6) for frame in container.decode(video=0)]
    truth = [json.loads(line) for line in (SAMPLES / "gate.truth.jsonl").read_text().splitlines()]
    assert [line["t_s"] for line in truth] == times
    assert times[-1] >= 59.9
    for question in truth[0]["values"]:
        assert len({json.dumps(line["values"][question]) for line in truth} - {"null"}) >= 2, question


def test_a_subscriber_takes_no_more_than_30_lines() -> None:
    for path in SAMPLES.glob("subscriber.*"):
        assert len(path.read_text("utf-8").splitlines()) <= 30, path


def test_the_python_subscriber_prints_what_changes(tmp_path: Path) -> None:
    with a_running_service(tmp_path) as service:
        subscriber = subprocess.Popen(
            [sys.executable, str(SAMPLES / "subscriber.py"), service.websocket],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        assert subscriber.stdout is not None
        line = subscriber.stdout.readline()
        subscriber.kill()
        subscriber.stdout.close()
        subscriber.wait(10)
    assert " clip person " in line
