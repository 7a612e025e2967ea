from pathlib import Path

import pytest

from streamqa.bench.clips import small_clip
from streamqa.bench.fixed import Cost
from streamqa.bench.line import LineSpec, rss_bytes, run_line, total, unaccounted
from streamqa.bench.pipeline import questions
from streamqa.bench.subscriber import Seen
from streamqa.capture.source import SourceSpec
from streamqa.metrics import Metrics

EVERY_NS = 40_000_000


def answer(tick: int, skipped: int = 0, source: str = "a") -> Seen:
    return Seen(0, source, "q", tick * EVERY_NS, skipped, 0, 0.0, "ok")


def test_answers_and_skipped_ticks_make_all_ticks() -> None:
    assert unaccounted([answer(0), answer(1), answer(5, skipped=3)], EVERY_NS) == 0
    assert unaccounted([answer(0), answer(1), answer(5, skipped=1)], EVERY_NS) == 2
    assert unaccounted([answer(2, 2), answer(0, source="b"), answer(2, source="b")], EVERY_NS) == 1


def test_a_tick_answered_twice_is_found() -> None:
    assert unaccounted([answer(0), answer(1), answer(1)], EVERY_NS) == 1


def test_a_counter_is_summed_over_its_labels() -> None:
    metrics = Metrics()
    metrics.frames_kept.labels("a").inc(2)
    metrics.frames_kept.labels("b").inc()
    assert total(metrics, "frames_kept") == 3
    assert total(metrics, "frames_dropped") == 0


def test_memory_is_that_of_a_python_process() -> None:
    assert 5 * 2**20 < rss_bytes() < 2**37


def test_a_line_without_sources_is_refused() -> None:
    with pytest.raises(ValueError, match="needs sources"):
        LineSpec((), questions(1, EVERY_NS), Cost(0.0), None)


def test_recordings_are_answered_to_the_last_frame(tmp_path: Path) -> None:
    clip = small_clip(tmp_path / "clip.mp4", 30, fps=25)
    sources = tuple(SourceSpec(name, str(clip)) for name in ("a", "b"))
    run = run_line(LineSpec(sources, questions(3, EVERY_NS), Cost(0.001), None, mark_every=10))
    assert (run.kept, run.dropped, run.gaps) == (60, 0, 0)
    assert sum(call.frames for call in run.calls) == 60
    assert len(run.seen) == 60 * 3
    assert unaccounted(run.seen, EVERY_NS) == 0
    assert {(a.source, a.question) for a in run.seen} == {(s, f"q{n}") for s in "ab" for n in range(3)}
    assert all(a.state == "ok" for a in run.seen)
    assert run.marks[-1].frames == 60
    assert [mark.frames for mark in run.marks] == sorted(mark.frames for mark in run.marks)
    assert run.marks[-1].cpu_s > run.marks[0].cpu_s
