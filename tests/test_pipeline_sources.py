"""A line whose sources come and go while it runs: what the others see of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from streamqa import pipeline as pipeline_module
from streamqa.capture.source import SourceSpec
from streamqa.errors import ConfigError
from streamqa.metrics import Metrics
from streamqa.pipeline import Parts, Pipeline
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog
from streamqa.testing import ScriptedModel
from streamqa.types import Box, Question, utc_now
from tests.clips import PERSON, bright_model, bright_when

EVERY_S = PERSON.every_ns / 1e9


class Kept:
    """Everything that was recorded."""

    def __init__(self) -> None:
        self.records: list[dict[str, object]] = []

    def write(self, records: Sequence[Logged]) -> None:
        self.records += [record.payload for record in records]

    def close(self) -> None: ...

    def answers(self, source: str) -> list[dict[str, object]]:
        return [r for r in self.records if r["type"] == "answer" and r["source"] == source]

    def states(self, source: str) -> list[str]:
        return [str(r["state"]) for r in self.records if r["type"] == "source" and r["source"] == source]


@contextmanager
def running(*specs: SourceSpec, stays: bool = True, delay_s: float = 0.0) -> Iterator[tuple[Pipeline, Kept]]:
    kept = Kept()
    with closing(AnswerLog(":memory:")) as log:
        parts = Parts((PERSON,), specs, bright_model(delay_s), log, (kept,), Metrics())
        pipeline = Pipeline(parts, stays=stays)
        pipeline.start()
        yield pipeline, kept
        pipeline.stop()
        assert pipeline.failure is None


def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.01)


def scene(name: str, seed: int = 1) -> SourceSpec:
    return SourceSpec(name, f"scene:gate?seed={seed}&fps=20")


def passed(answer: dict[str, object]) -> int:
    """Ticks up to and with this answer's."""
    return int(float(str(answer["t_s"])) / EVERY_S + 1e-6) + 1


def owed(answers: Sequence[dict[str, object]]) -> int:
    """Ticks that the answers account for."""
    return len(answers) + sum(int(str(a["skipped"])) + int(str(a["inactive"])) for a in answers)


def test_sources_come_and_go_while_another_misses_no_tick() -> None:
    with running(scene("steady")) as (pipeline, kept):
        until(lambda: bool(kept.answers("steady")))
        for seed in (1, 2):
            pipeline.add_source(scene("guest", seed))
            until(lambda: len(kept.answers("guest")) > 1)
            pipeline.change_source(scene("guest", seed + 10))
            pipeline.pause_source("guest")
            until(lambda: pipeline.sources()[1].state == "paused")
            assert pipeline.trouble() == []
            more = len(kept.answers("steady")) + 3
            until(lambda more=more: len(kept.answers("steady")) > more)
            pipeline.resume_source("guest")
            count = len(kept.answers("guest"))
            until(lambda count=count: len(kept.answers("guest")) > count + 1)
            pipeline.remove_source("guest")
            assert [one.id for one in pipeline.sources()] == ["steady"]
            assert pipeline.latest("guest") is None
        assert pipeline.latest("steady") is not None
    steady, guest = kept.answers("steady"), kept.answers("guest")
    assert sum(int(str(answer["skipped"])) for answer in steady) == 0
    assert len(steady) == passed(steady[-1])
    assert kept.states("steady") == ["connecting", "live", "ended"]
    assert [kept.states("guest")[n] for n in (0, -1)] == ["connecting", "ended"]
    times = [float(str(answer["t_s"])) for answer in guest]
    assert times == sorted(set(times))
    assert owed(guest) == passed(guest[-1])
    assert sum(int(str(answer["inactive"])) for answer in guest) > 0


def test_a_service_without_sources_waits_for_one_and_the_end_of_a_recording_is_not_its_end(
    tmp_path: Path,
) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    with running() as (pipeline, kept):
        assert not pipeline.wait(0.3)
        pipeline.add_source(SourceSpec("a", str(clip)))
        until(lambda: len(kept.answers("a")) == 10)
        until(lambda: pipeline.sources()[0].state == "ended")
        assert not pipeline.wait(0.3)
        pipeline.remove_source("a")
        pipeline.add_source(SourceSpec("a", str(clip)))
        until(lambda: len(kept.answers("a")) == 20)
    assert kept.states("a") == ["connecting", "live", "ended", "ended", "connecting", "live", "ended"]
    answers = kept.answers("a")
    assert owed(answers) == passed(answers[-1])
    assert {answer["skipped"] for answer in answers} == {0}


def test_without_that_option_the_end_of_all_recordings_is_the_end(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    with running(SourceSpec("a", str(clip)), stays=False) as (pipeline, _):
        assert pipeline.wait(15)


def test_mistakes_change_nothing() -> None:
    with running(scene("a")) as (pipeline, kept):
        with pytest.raises(ConfigError, match="is there already"):
            pipeline.add_source(scene("a", 2))
        with pytest.raises(ConfigError, match="no such source"):
            pipeline.remove_source("b")
        with pytest.raises(ConfigError, match="unknown scene"):
            pipeline.change_source(SourceSpec("a", "scene:moon"))
        until(lambda: len(kept.answers("a")) > 2)
        assert kept.states("a") == ["connecting", "live"]
        assert [(one.id, one.url, one.is_live) for one in pipeline.sources()] == [("a", scene("a").url, True)]


def test_a_wall_clock_that_is_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = threading.Event()
    monkeypatch.setattr(
        pipeline_module, "utc_now", lambda: utc_now() + timedelta(hours=1 if ahead.is_set() else 0)
    )
    with running() as (_, kept):
        time.sleep(0.7)  # the watch has looked once
        ahead.set()
        until(lambda: any(record["type"] == "error" for record in kept.records))
    (fault,) = [record for record in kept.records if record["type"] == "error"]
    assert fault["code"] == "clock_step"
    assert "+3600.0 s" in str(fault["message"])


def test_a_watch_that_fails_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> datetime:
        raise OSError("no clock")

    with closing(AnswerLog(":memory:")) as log:
        pipeline = Pipeline(Parts((PERSON,), (), bright_model(), log, (), Metrics()), stays=True)
        pipeline.start()
        monkeypatch.setattr(pipeline_module, "utc_now", broken)
        until(lambda: pipeline.failure is not None)
        pipeline.stop()
    assert "no clock" in str(pipeline.failure)
    assert pipeline.trouble() == ["no clock"]


def test_each_image_of_a_watched_folder_is_answered_however_slow_the_model_is(tmp_path: Path) -> None:
    for number in range(6):
        Image.new("RGB", (32, 32), (255 * (number % 2),) * 3).save(tmp_path / f"{number}.png")
    with running(SourceSpec("in", str(tmp_path), watch=True), delay_s=2 * EVERY_S) as (_, kept):
        until(lambda: len(kept.answers("in")) >= 6)
    answers = kept.answers("in")
    assert [a["state"] for a in answers] == ["ok"] * 6
    assert [a["value"] for a in answers] == [False, True] * 3
    assert all(a["captured_at"] for a in answers)


def test_what_a_changed_source_masks_is_in_no_storyboard_any_more(tmp_path: Path) -> None:
    """Whose pictures of before the change would be shown, and kept as evidence, for a whole window."""
    clip = bright_when(tmp_path / "a.mp4", lambda t: True, seconds=1)
    shown: list[float] = []

    def says(image: Any, prompt: Any) -> bool:
        shown.append(float(image.mean()))
        return True

    slide_ns = 100_000_000
    asked = Question("q", "?", "yes_no", slide_ns, window_ns=9 * slide_ns, look="storyboard")
    spec = SourceSpec("cam", str(clip), pace="realtime", loop=True)
    with closing(AnswerLog(":memory:")) as log:
        pipeline = Pipeline(Parts((asked,), (spec,), ScriptedModel(says), log, (), Metrics()), stays=True)
        pipeline.start()
        until(lambda: len(shown) >= 4)
        pipeline.change_source(replace(spec, masks=(Box(0, 0, 1, 1),)))
        before = len(shown) + 1  # one may have been in the model
        until(lambda: len(shown) >= before + 3)
        pipeline.stop()
    assert max(shown[:3]) > 100
    assert max(shown[before:]) < 40  # the labels
