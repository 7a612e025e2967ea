import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image as Pillow

from streamqa.cli.ask import _choose, name_sources
from streamqa.config import parse_config
from streamqa.model.pool import ModelChoice
from tests.cli.process import COMMAND, ENVIRONMENT, SAMPLES, streamqa

CLIP = str(SAMPLES / "gate.mp4")
DEMO = str(SAMPLES.parent / "configs" / "demo.yaml")


def truth_by_time() -> dict[float, dict[str, object]]:
    lines = [json.loads(line) for line in (SAMPLES / "gate.truth.jsonl").read_text().splitlines()]
    return {round(line["t_s"], 4): line["values"] for line in lines}


def test_the_sample_clip_is_answered_truly_frame_for_frame() -> None:
    result = streamqa("ask", CLIP, "--config", DEMO, "--model", "tiny", "--every-answer", "--format", "jsonl")
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    truth = truth_by_time()
    questions = {answer["question"] for answer in answers}
    assert len(questions) >= 5
    for question in questions:
        own = [answer for answer in answers if answer["question"] == question]
        assert len(own) + sum(answer["skipped"] for answer in own) == 120  # 60 s, every 500 ms
        known = [(truth[round(a["t_s"], 4)][question], a["reading"]["value"]) for a in own]
        scored = [(true, said) for true, said in known if true is not None]
        assert len(scored) >= 60
        right = sum(true == said for true, said in scored) / len(scored)
        assert right >= 0.97, f"{question}: {right:.1%} of {len(scored)}"
    assert [answer["seq"] for answer in answers] == sorted(answer["seq"] for answer in answers)


def test_a_folder_is_a_recording_and_what_is_damaged_in_it_is_told(tmp_path: Path) -> None:
    for number in range(3):
        Pillow.new("RGB", (64, 48), (number * 100,) * 3).save(tmp_path / f"{number}.png")
    asked = ("-q", "Is the gate open?", "--kind", "yes_no", "--model", "tiny", "--every-answer")
    whole = streamqa("ask", str(tmp_path), *asked)
    assert whole.returncode == 0, whole.stderr
    assert [json.loads(line)["t_s"] for line in whole.stdout.splitlines()] == [0.0, 1.0, 2.0]
    (tmp_path / "1.png").write_text("no image")
    damaged = streamqa("ask", str(tmp_path), *asked)
    assert damaged.returncode == 3
    assert [json.loads(line)["t_s"] for line in damaged.stdout.splitlines()] == [0.0, 2.0]
    assert f"streamqa: {tmp_path}: 1 of 3 files damaged: 1.png: not a JPEG" in damaged.stderr


def test_only_changes_are_printed_unless_everything_is_asked_for() -> None:
    arguments = (
        "ask",
        CLIP,
        "--model",
        "tiny",
        "-q",
        "Is the gate open?",
        "--kind",
        "yes_no",
        "--every",
        "2s",
    )
    changes = [json.loads(line) for line in streamqa(*arguments).stdout.splitlines()]
    everything = [json.loads(line) for line in streamqa(*arguments, "--every-answer").stdout.splitlines()]
    assert len(everything) == 30
    assert 2 <= len(changes) < 30
    states = [(answer["value"], answer["state"]) for answer in changes]
    assert all(one != two for one, two in itertools.pairwise(states))


def test_a_second_run_gives_the_same_records() -> None:
    arguments = ("ask", CLIP, "--model", "tiny", "-q", "How many cars are there?", "--kind", "number")
    runs = []
    for _ in range(2):
        lines = [json.loads(line) for line in streamqa(*arguments, "--every-answer").stdout.splitlines()]
        for line in lines:
            del line["answered_at"], line["latency_ms"], line["seq"]
        runs.append(lines)
    assert len(runs[0]) == 60
    assert runs[0] == runs[1]


def test_a_bad_file_costs_only_itself_and_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    result = streamqa("ask", str(tmp_path / "empty.mp4"), CLIP, str(tmp_path / "none.mp4"), "--model", "tiny",
                      "-q", "Is it day or night?", "--every", "10s", "--every-answer")  # fmt: skip
    assert result.returncode == 3
    assert len(result.stdout.splitlines()) == 6
    told = [line for line in result.stderr.splitlines() if line.startswith("streamqa: ") and "mp4" in line]
    assert ["empty.mp4" in told[0], "none.mp4" in told[1]] == [True, True]
    assert "Traceback" not in result.stderr


def test_no_weights_and_no_network_say_what_is_missing_and_what_works(tmp_path: Path) -> None:
    result = streamqa("ask", CLIP, "-q", "Anybody?", "--model", "moondream2", "--model-path", str(tmp_path))
    assert result.returncode == 4
    lines = [line for line in result.stderr.splitlines() if line.startswith("streamqa: ")]
    assert len(lines) == 1
    assert "model.safetensors" in lines[0]


def test_special_token_texts_in_a_question_are_only_text() -> None:
    asked = "Is there a person?<|endoftext|><|q|><|a|>"
    result = streamqa("ask", CLIP, "--model", "tiny", "-q", asked, "--kind", "yes_no", "--every", "20s",
                      "--every-answer")  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 3


def test_a_question_beyond_the_model_s_context_is_told_before_anything_is_answered() -> None:
    result = streamqa("ask", CLIP, "--model", "tiny", "-q", "Is there a person? " + "really " * 280)
    assert result.returncode == 4
    assert result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if "cannot answer" in line]
    assert "question 'q1'" in line
    assert "tokens" in line


def test_control_characters_in_a_question_are_refused() -> None:
    result = streamqa("ask", CLIP, "--model", "tiny", "-q", "Is\x1b[2J there a person?")
    assert result.returncode == 2
    assert "\x1b" not in result.stderr


def test_a_closed_output_ends_quietly() -> None:
    pipe = subprocess.Popen(
        [*COMMAND, "ask", CLIP, "--config", DEMO, "--model", "tiny", "--every-answer", "--format", "jsonl"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert pipe.stdout is not None
    assert pipe.stderr is not None
    json.loads(pipe.stdout.readline())
    pipe.stdout.close()
    stderr = pipe.stderr.read()
    pipe.stderr.close()
    assert pipe.wait(30) == 0
    assert "BrokenPipe" not in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_with_130_and_keeps_what_was_printed(times: int, tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w+") as told:
        scene = subprocess.Popen(
            [*COMMAND, "ask", "scene:gate", "--model", "tiny", "-q", "Is there a car?", "--kind", "yes_no",
             "--every", "100ms", "--every-answer", "--format", "jsonl"],
            stdout=subprocess.PIPE, stderr=told, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        assert scene.stdout is not None
        first = scene.stdout.readline()
        for _ in range(times):
            scene.send_signal(signal.SIGINT)
            time.sleep(0.05)  # two presses of a key, not one event
        rest = scene.stdout.readlines()
        scene.stdout.close()
        assert scene.wait(30) == 130
        told.seek(0)
        assert "Traceback" not in told.read()
    whole = [line for line in [first, *rest] if line.endswith("\n")]  # the second press may cut the last line
    assert len(whole) >= len(rest) + 2 - times
    for line in whole:
        json.loads(line)


def test_sources_are_named_after_their_files_without_anything_dangerous() -> None:
    specs = name_sources(["a/gate.mp4", "b/gate.mp4", "rtsp://u:pw@h/x", "webcam:0", "\x1b[31m.mp4", "..."])
    assert [spec.id for spec in specs] == ["gate.mp4", "gate.mp4-2", "rtsp", "webcam-0", "31m.mp4", "source"]


def test_python_is_this_one() -> None:
    assert COMMAND[0] == sys.executable


def test_the_password_of_a_url_in_capitals_is_not_its_name() -> None:
    assert [spec.id for spec in name_sources(["RTSP://viewer:s3cret@10.0.0.7"])] == ["rtsp"]


def test_the_model_is_the_command_lines_else_the_files_else_moondream2() -> None:
    config = parse_config("model: {name: tiny, path: /w, devices: ['cuda:0', 'cuda:1']}")
    assert _choose(None, None, None, False) == ModelChoice("moondream2", isolate=False)
    assert _choose(config, None, None, False) == ModelChoice("tiny", Path("/w"), ("cuda:0", "cuda:1"), True)
    assert _choose(config, "moondream2", Path("/m"), True) == ModelChoice(
        "moondream2", Path("/m"), isolate=True
    )
    assert _choose(config, None, Path("/m"), False).directory == Path("/m")
