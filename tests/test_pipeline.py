import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamqa.capture.source import KINDS, Picture, SourceFacts, SourceSpec
from streamqa.errors import ModelError, SourceEnded
from streamqa.metrics import Metrics
from streamqa.model.health import Health
from streamqa.pipeline import Parts, Pipeline
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog
from streamqa.testing import ScriptedModel
from streamqa.types import Generation, Request
from tests.clips import PERSON, bright_model, bright_when, brightness


class Kept:
    def __init__(self) -> None:
        self.records: list[Logged] = []

    def write(self, records: Sequence[Logged]) -> None:
        self.records += records

    def close(self) -> None: ...

    def of(self, type_: str) -> list[dict[str, object]]:
        return [record.payload for record in self.records if record.payload["type"] == type_]


def run(specs: Sequence[SourceSpec], model: ScriptedModel) -> tuple[Pipeline, Kept]:
    kept = Kept()
    with closing(AnswerLog(":memory:")) as log:
        pipeline = Pipeline(Parts((PERSON,), tuple(specs), model, log, (kept,), Metrics()))
        pipeline.start()
        assert pipeline.wait(30)
        pipeline.stop()
        assert [r.seq for r in kept.records] == list(range(1, log.last_seq + 1))
    return pipeline, kept


def test_every_tick_of_a_clip_is_answered_from_its_own_frame(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: t_s >= 1.0)
    pipeline, kept = run([SourceSpec("a", str(clip))], bright_model())
    answers = kept.of("answer")
    assert [answer["t_s"] for answer in answers] == [n / 5 for n in range(10)]
    assert [answer["value"] for answer in answers] == [False] * 5 + [True] * 5
    assert [answer["changed"] for answer in answers] == [True, *[False] * 4, True, *[False] * 4]
    assert {answer["skipped"] for answer in answers} == {0}
    assert [status["state"] for status in kept.of("source")][-1] == "ended"
    assert pipeline.failures() == {}
    assert pipeline.failure is None
    assert pipeline.trouble() == []
    latest = pipeline.latest("a")
    assert latest is not None
    assert latest.shape == (48, 64, 3)
    assert pipeline.latest("nobody") is None


def test_a_source_that_fails_does_not_disturb_another(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    missing = SourceSpec("gone", str(tmp_path / "gone.mp4"))
    pipeline, kept = run([missing, SourceSpec("a", str(clip))], bright_model())
    assert len(kept.of("answer")) == 10
    assert list(pipeline.failures()) == ["gone"]
    assert "gone.mp4" in str(pipeline.failures()["gone"])


def test_a_model_that_fails_gives_errors_and_never_a_no(tmp_path: Path) -> None:
    def broken(image: object, prompt: object) -> bool:
        raise MemoryError("no room")

    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    _, kept = run([SourceSpec("a", str(clip))], ScriptedModel(broken))
    answers = kept.of("answer")
    assert len(answers) == 10
    assert {(answer["state"], answer["value"]) for answer in answers} == {("error", None)}


def test_what_befalls_the_models_process_becomes_a_record(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    kept, health = Kept(), Health()
    died = ["early was killed; it is started again", "late hung; it is started again"]
    health.died("early", "was killed")  # before there is a line to tell
    with closing(AnswerLog(":memory:")) as log:
        parts = Parts(
            (PERSON,), (SourceSpec("a", str(clip)),), bright_model(), log, (kept,), Metrics(), health
        )
        pipeline = Pipeline(parts)
        pipeline.start()
        health.died("late", "hung")
        assert pipeline.wait(30)
        assert [line.split("process ")[1] for line in pipeline.trouble()] == died
        pipeline.stop()
    assert health.stopping
    assert [str(record["message"]).split("process ")[1] for record in kept.of("error")] == died


def test_a_live_source_that_is_too_fast_skips_ticks_and_counts_them(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    live = SourceSpec("a", str(clip), pace="realtime")
    _, kept = run([live], bright_model(delay_s=0.45))
    answers = kept.of("answer")
    skipped = sum(int(str(answer["skipped"])) for answer in answers)
    assert skipped > 0
    last_tick = int(float(str(answers[-1]["t_s"])) / 0.2 + 1e-6)
    assert len(answers) + skipped == last_tick + 1


def test_a_file_replays_to_the_same_records(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: int(t_s * 3) % 2 == 0)
    runs = [run([SourceSpec("a", str(clip))], bright_model())[1].of("answer") for _ in range(2)]
    for answers in runs:
        for answer in answers:
            del answer["answered_at"], answer["latency_ms"], answer["seq"]
    assert runs[0] == runs[1]


def test_stopping_in_the_middle_keeps_what_was_answered(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True, seconds=20)
    kept = Kept()
    with closing(AnswerLog(":memory:")) as log:
        model = bright_model(delay_s=0.05)
        pipeline = Pipeline(Parts((PERSON,), (SourceSpec("a", str(clip)),), model, log, (kept,), Metrics()))
        pipeline.start()
        assert not pipeline.wait(0.3)
        pipeline.stop()
        pipeline.stop()
        assert pipeline.wait(0)
        assert log.last_seq == len(kept.records)
    assert 0 < len(kept.of("answer")) < 100


class Slow(Kept):
    """A reader that takes its time, as a pager does."""

    def write(self, records: Sequence[Logged]) -> None:
        time.sleep(0.3)
        super().write(records)


def test_the_end_waits_for_an_output_that_is_slower_than_the_model(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    slow = Slow()
    with closing(AnswerLog(":memory:")) as log:
        pipeline = Pipeline(
            Parts((PERSON,), (SourceSpec("a", str(clip)),), bright_model(), log, (slow,), Metrics())
        )
        pipeline.start()
        assert pipeline.wait(30)
        assert len(slow.of("answer")) == 10
        pipeline.stop(0)


def test_many_hung_sources_and_a_stuck_model_stop_in_the_time_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()

    class Hung:
        is_live = True

        def __init__(self, spec: SourceSpec) -> None: ...

        def open(self) -> None:
            free.wait(60)
            raise SourceEnded("at last")

        facts = SourceFacts()

        def read(self, wanted_ns: int = 0) -> Picture:
            raise SourceEnded("at last")

        def close(self) -> None: ...

    def stuck(image: object, prompt: object) -> bool:
        free.wait(60)
        return True

    monkeypatch.setitem(KINDS, "webcam", "tests.hung:make")
    monkeypatch.setitem(sys.modules, "tests.hung", SimpleNamespace(make=Hung))
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    specs = (*(SourceSpec(f"c{n}", f"webcam:{n}") for n in range(4)), SourceSpec("a", str(clip)))
    with closing(AnswerLog(":memory:")) as log:
        pipeline = Pipeline(Parts((PERSON,), specs, ScriptedModel(stuck), log, (), Metrics()))
        pipeline.start()
        time.sleep(0.5)
        began_s = time.monotonic()
        pipeline.stop(1.0)
        took_s = time.monotonic() - began_s
        free.set()
    assert took_s < 2.5


def test_a_question_that_the_model_could_not_answer_is_refused_before_anything_starts(tmp_path: Path) -> None:
    model = ScriptedModel(lambda image, prompt: True, refuses=lambda prompt: "1130 tokens, room for 411")
    with closing(AnswerLog(":memory:")) as log:
        with pytest.raises(ModelError, match="cannot answer question 'person': 1130 tokens, room for 411"):
            Pipeline(Parts((PERSON,), (SourceSpec("a", str(tmp_path)),), model, log, (), Metrics()))
        assert log.last_seq == 0
    assert model.batches == []


def test_each_source_has_its_detail_and_its_priority(tmp_path: Path) -> None:
    seen: list[tuple[bool, str]] = []

    class Looking(ScriptedModel):
        def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
            looked_at = [request for request in requests if request.image is not None]
            seen.extend((bool(request.image.mean() > 127), request.detail) for request in looked_at)
            return super().answer(requests)

    white = bright_when(tmp_path / "w.mp4", lambda t_s: True)
    black = bright_when(tmp_path / "b.mp4", lambda t_s: False)
    fast = SourceSpec("w", str(white), detail="fast", priority=1)
    run([SourceSpec("b", str(black)), fast], Looking(brightness))
    assert set(seen) == {(True, "fast"), (False, "full")}
    assert len(seen) == 20
