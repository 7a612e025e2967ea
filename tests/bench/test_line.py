from pathlib import Path

import pytest

from streamqa.bench.clips import small_clip
from streamqa.bench.fixed import Cost, FixedCostModel
from streamqa.bench.line import LineSpec, Tally, WithAudience, rss_bytes, run_line, total
from streamqa.bench.pipeline import questions
from streamqa.capture.source import SourceSpec
from streamqa.errors import ModelError
from streamqa.metrics import Metrics
from streamqa.types import Request

EVERY_NS = 40_000_000


def tally(*answers: tuple[int, int], source: str = "a") -> Tally:
    account = Tally()
    for tick, skipped in answers:
        account.add({"source": source, "question": "q", "t_s": tick * EVERY_NS / 1e9, "skipped": skipped})
    return account


def test_answers_and_skipped_ticks_make_all_ticks() -> None:
    assert tally((0, 0), (1, 0), (5, 3)).unaccounted(EVERY_NS) == 0
    assert tally((0, 0), (1, 0), (5, 1)).unaccounted(EVERY_NS) == 2
    assert tally((0, 0), (1, 0), (1, 0)).unaccounted(EVERY_NS) == 1  # twice


def test_sources_are_counted_apart() -> None:
    account = tally((2, 2))
    account.add({"source": "b", "question": "q", "t_s": 0.08, "skipped": 1})
    assert account.unaccounted(EVERY_NS) == 1
    assert account.answers == 2


def test_a_counter_is_summed_over_its_labels() -> None:
    metrics = Metrics()
    metrics.frames_kept.labels("a").inc(2)
    metrics.frames_kept.labels("b").inc()
    assert total(metrics, "frames_kept") == 3
    assert total(metrics, "frames_dropped") == 0


def test_the_first_look_waits_for_a_subscriber(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, inner = Metrics(), FixedCostModel(Cost(0.0))
    model = WithAudience(inner, metrics)
    monkeypatch.setattr("streamqa.bench.line._SUBSCRIBER_S", 0.0)
    model.answer([Request(None, (), check_only=True)])
    with pytest.raises(ModelError, match="nobody subscribed"):
        model.answer([Request(None, ())])
    metrics.subscribers.inc()
    model.answer([Request(None, ())])
    metrics.subscribers.dec()
    model.answer([Request(None, ())])  # it left: that is no reason to wait again
    assert len(inner.calls) == 2


def test_memory_is_that_of_a_python_process() -> None:
    assert 5 * 2**20 < rss_bytes() < 2**37


def test_a_line_without_sources_is_refused() -> None:
    with pytest.raises(ValueError, match="needs sources"):
        LineSpec((), questions(1, EVERY_NS), Cost(0.0), None)
    with pytest.raises(ValueError, match="one period"):
        LineSpec((SourceSpec("a", "a.mp4"),), (*questions(1, 1), *questions(1, 2)), Cost(0.0), None)


def test_recordings_are_answered_to_the_last_frame(tmp_path: Path) -> None:
    clip = small_clip(tmp_path / "clip.mp4", 30, fps=25)
    sources = tuple(SourceSpec(name, str(clip)) for name in ("a", "b"))
    run = run_line(LineSpec(sources, questions(3, EVERY_NS), Cost(0.001), None, mark_every=10))
    assert (run.kept, run.dropped, run.missed, run.unaccounted) == (60, 0, 0, 0)
    assert sum(call.frames for call in run.calls) == 60
    assert len(run.seen) == 60 * 3
    assert run.answers == 60 * 3
    assert {(a.source, a.question) for a in run.seen} == {(s, f"q{n}") for s in "ab" for n in range(3)}
    assert all(a.state == "ok" for a in run.seen)
    assert run.marks[-1].frames == 60
    assert [mark.frames for mark in run.marks] == sorted(mark.frames for mark in run.marks)
    assert run.marks[-1].cpu_s > run.marks[0].cpu_s
