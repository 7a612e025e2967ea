import sys
from dataclasses import replace
from pathlib import Path

import pytest

from streamqa.bench import capture_live
from streamqa.bench.capture_clips import LIVE, make_clip
from streamqa.bench.capture_live import (
    Plan,
    Row,
    Run,
    Watcher,
    as_json,
    cost_figures,
    late_figures,
    late_ns,
    measure,
    missed,
    viewing,
)
from streamqa.bench.capture_watch import Taken
from streamqa.errors import StreamQAError
from streamqa.types import NS_PER_S

S = NS_PER_S


def taken(t_s: float, number: int = 0, taken_ns: int = 0, source: str = "cam0") -> Taken:
    return Taken(source, number, round(t_s * S), "arrival", 0, 0, taken_ns)


def test_a_frame_is_as_late_as_its_picture_was_due_before() -> None:
    began_ns, clip_ns = 1000 * S, 20 * S
    assert late_ns(taken(0, 30, 1001 * S + 5), began_ns, clip_ns) == 5
    assert late_ns(taken(0, 30, 1041 * S + 5), began_ns, clip_ns) == 5  # the third turn
    assert late_ns(taken(0, 599, 1021 * S), began_ns, clip_ns) == pytest.approx(1.033 * S, rel=1e-3)


def test_ticks_without_a_frame_are_missed() -> None:
    whole = [taken(t_s) for t_s in (7.1, 8.2, 9.0, 10.9)]
    assert missed(whole, ["cam0"], 4) == 0
    assert missed([whole[0], *whole[2:]], ["cam0"], 4) == 1
    assert missed(whole, ["cam0"], 10) == 5  # the camera fell silent
    assert missed(whole, ["cam0", "cam1"], 4) == 3  # another one was so all the time
    assert missed([*whole, *(taken(t_s, source="cam1") for t_s in (1, 2, 3))], ["cam0", "cam1"], 4) == 0


def row(*late_ms: float) -> Row:
    runs = tuple(Run(2.0, 4.0 + n, 1.0, late_ms, (1.0, 2.0), ("rtcp",), n, ()) for n in range(3))
    return Row(LIVE[1], 4, runs, (5.0, 5.0, 5.0))


def test_a_row_is_told_in_figures() -> None:
    found = row(10.0, 500.0, 501.0)
    told = as_json(found)
    assert found.ours == (0.5, 0.625, 0.75)
    assert (told["ratio"], told["cores"], told["camera_cores"]) == (0.125, 2.5, 0.5)
    assert told["late_ms"] == {"p50": 500.0, "p99": 501.0, "max": 501.0}
    assert (told["late_frames"], told["frames"], told["missed"]) == (3, 9, 3)
    assert told["ratio_beside"] is None
    ratio, late_p50 = cost_figures(found)
    assert (ratio.value, ratio.reached) == (0.125, True)
    assert late_p50.value == 500
    beside = replace(found, beside=(2.5, 2.5, 2.5))
    assert as_json(beside)["ratio_beside"] == 0.25
    assert [figure.value for figure in cost_figures(beside)] == [0.125, 0.25, 500]
    late = {figure.name.split(": ")[1]: figure for figure in late_figures(found)}
    assert late["frames later than half a slide"].reached is False
    assert late["ticks missed"].reached is False
    assert late["CPU of ours"].value == 2.5
    assert {f.value for f in late_figures(row(1.0)) if "later" in f.name} == {0}


def test_two_cameras_are_watched_and_timed(tmp_path: Path) -> None:
    clip = make_clip(tmp_path, LIVE[0].scaled((160, 96)), 3.0)
    with viewing(clip, 90, 2, lambda _: None) as view:
        assert set(view.began_ns) == {"cam0", "cam1"}
        run = view.run(2.2)
    assert len(run.late_ms) == len(run.handed_ms) >= 2
    assert all(0 <= late < 3000 for late in run.late_ms)
    assert run.cpu_s > 0
    assert run.camera_cpu_s > 0
    assert run.states == ()


def test_a_clip_is_decoded_in_turn_and_watched_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path, LIVE[0].scaled((160, 96)), 2.0)
    spin = "import time\nwhile time.process_time() < 0.4: pass"
    monkeypatch.setattr(
        capture_live, "ffmpeg_command", lambda url, *options: [sys.executable, "-c", spin, url, *options]
    )
    found = measure(Plan(LIVE[0], clip, 1, 2.0, 1, settle_s=0.0), lambda _: None)
    assert len(found.runs) == len(found.baseline) == len(found.beside) == 1
    assert found.baseline[0] > 0
    assert 0.2 <= found.beside[0] < 1.0


def test_a_watcher_that_cannot_is_an_error() -> None:
    watcher = Watcher()
    with pytest.raises(StreamQAError, match="no such command"):
        watcher.ask("dance", 1)
    watcher.process.kill()
    with pytest.raises(StreamQAError, match="the process that watches ended at `measure 1`"):
        watcher.ask("measure 1", 1)
    watcher.close()
