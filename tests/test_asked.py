"""A running line whose questions change, and which is asked once: a real scene, a scripted model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from streamqa.capture.source import SourceSpec
from streamqa.errors import ModelError, NotThere, StreamQAError, TakenId
from streamqa.metrics import Metrics
from streamqa.pipeline import Parts, Pipeline
from streamqa.records import Answer
from streamqa.sinks.base import Logged
from streamqa.sinks.log import AnswerLog
from streamqa.testing import ScriptedModel
from streamqa.types import NEWEST, NS_PER_S, Box, Moment, Point, Prompt, Question, Request, Zone

TENTH = NS_PER_S // 10


def question(name: str, ask: str | None = None, every_ns: int = TENTH) -> Question:
    return Question(name, ask or name, "text", every_ns)


class Heard:
    """A sink that can be waited on."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.answers: list[dict[str, object]] = []

    def write(self, records: Sequence[Logged]) -> None:
        with self.changed:
            self.answers += [one.payload for one in records if one.payload["type"] == "answer"]
            self.changed.notify_all()

    def close(self) -> None:
        """Nothing is held."""

    def wait(self, wanted: Callable[[dict[str, object]], bool], after: int = 0) -> dict[str, object]:
        with self.changed:
            assert self.changed.wait_for(lambda: any(map(wanted, self.answers[after:])), 20)
            return next(filter(wanted, self.answers[after:]))


@contextmanager
def running(
    model: ScriptedModel, *questions: Question, metrics: Metrics | None = None, **spec: object
) -> Iterator[tuple[Pipeline, Heard]]:
    heard, log = Heard(), AnswerLog(":memory:")
    source = SourceSpec("gate", "scene:gate", **({"recent_s": 60.0} | spec))  # type: ignore[arg-type]
    parts = Parts(tuple(questions), (source,), model, log, (heard,), metrics or Metrics(), keep_evidence=True)
    pipeline = Pipeline(parts, stays=True)
    pipeline.start()
    try:
        yield pipeline, heard
    finally:
        pipeline.stop()
        log.close()


def echo(image: object, prompt: Prompt) -> str:
    return f"{prompt.text}!"


def test_questions_come_change_rest_and_go() -> None:
    with running(ScriptedModel(echo), question("old")) as (pipeline, heard):
        asked = pipeline.asked
        heard.wait(lambda one: one["question"] == "old")
        asked.add_question(question("new"))
        first = heard.wait(lambda one: one["question"] == "new")
        assert first["skipped"] == 0
        with pytest.raises(TakenId):
            asked.add_question(question("new"))

        asked.change_question(question("new", "other"))
        after = len(heard.answers)
        heard.wait(lambda one: one["question"] == "new" and one["text"] == "other!", after)

        asked.pause_question("new")
        assert [one.is_paused for one in asked.questions()] == [False, True]
        asked.change_question(question("new", "third"))  # a pause stays
        after = len(heard.answers)
        heard.wait(lambda one: one["question"] == "old", after + 5)
        assert not [one for one in heard.answers[after + 3 :] if one["question"] == "new"]
        asked.resume_question("new")
        resumed = heard.wait(lambda one: one["question"] == "new", after)
        assert resumed["text"] == "third!"
        assert resumed["inactive"]

        asked.remove_question("old")
        heard.wait(lambda one: one["question"] == "new", len(heard.answers) + 2)
        assert [one.id for one in asked.questions()] == ["new"]
        for change in (asked.remove_question, asked.pause_question, asked.resume_question):
            with pytest.raises(NotThere):
                change("old")


def test_nothing_of_a_question_is_emitted_once_its_removal_has_returned() -> None:
    model = ScriptedModel(echo, delay_s=0.05, in_flight=3)
    with running(model, question("person", every_ns=TENTH // 2), question("cars", every_ns=TENTH // 2)) as (
        pipeline,
        heard,
    ):
        heard.wait(lambda one: one["question"] == "person")
        pipeline.asked.remove_question("person")
        pipeline._writer.drained(5)
        told = len([one for one in heard.answers if one["question"] == "person"])
        heard.wait(lambda one: one["question"] == "cars", len(heard.answers) + 10)
        assert len([one for one in heard.answers if one["question"] == "person"]) == told


def test_a_question_that_the_model_cannot_answer_is_refused_and_the_line_goes_on() -> None:
    model = ScriptedModel(echo, refuses=lambda prompt: "too long" if prompt.text == "long" else "")
    with running(model, question("old")) as (pipeline, heard):
        with pytest.raises(ModelError, match="'new': too long"):
            pipeline.asked.add_question(question("new", "long"))
        assert [one.id for one in pipeline.asked.questions()] == ["old"]
        heard.wait(lambda one: True, len(heard.answers))


def test_a_line_without_questions_answers_single_ones() -> None:
    with running(ScriptedModel(echo)) as (pipeline, heard):
        answer = _once(pipeline, NEWEST)
        assert answer.reading.text == "Who?!"
        assert answer.decision.frames == 1
        (generation,) = pipeline.asked.generate(Request(None, (Prompt("Anything?"),)))
        assert generation.text == "Anything?!"
        assert heard.answers == []  # none of this is recorded
        with pytest.raises(NotThere, match="no such source; there are: gate"):
            pipeline.asked.ask_once("yard", question("once", "Who?"), NEWEST)


def _once(pipeline: Pipeline, moment: Moment) -> Answer:
    deadline = time.monotonic() + 20
    while True:
        try:
            return pipeline.asked.ask_once("gate", question("once", "Who?"), moment)
        except NotThere:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_moment_of_the_past() -> None:
    with running(ScriptedModel(echo), question("old", every_ns=NS_PER_S // 2)) as (pipeline, heard):
        heard.wait(lambda one: float(str(one["t_s"])) >= 1.5)
        then = _once(pipeline, Moment(t_ns=NS_PER_S))
        assert 0.4 <= then.t_ns / NS_PER_S <= 1.0
        assert pipeline.asked.frame("gate", NEWEST).t_ns > then.t_ns


def test_what_is_masked_is_black_in_evidence_and_in_the_past() -> None:
    mask = (Box(0.0, 0.0, 0.5, 1.0),)
    zone = Zone((Point(0.25, 0), Point(0.75, 0), Point(0.75, 1), Point(0.25, 1)))
    seen: list[np.ndarray] = []
    pictures: list[np.ndarray] = []

    def script(image: np.ndarray, prompt: Prompt) -> str:
        seen.append(image)
        return "yes"

    parts_question = Question("person", "Who?", "text", TENTH, zone=zone)
    with running(ScriptedModel(script), parts_question, masks=mask) as (pipeline, heard):
        emit = pipeline._engine._emit

        def caught(answers: Sequence[Answer]) -> None:
            pictures.extend(one.picture for one in answers if one.picture is not None)
            emit(answers)

        pipeline._engine._emit = caught
        heard.wait(lambda one: True, 15)
        frame = pipeline.asked.frame("gate", Moment(ago_ns=0))
    picture = pictures[0] if pictures else seen[0]
    assert not picture[:, : picture.shape[1] // 2 - 1].any()
    assert picture[:, picture.shape[1] // 2 + 1 :].any()
    assert not frame.image[:, : frame.image.shape[1] // 2 - 8].any()


def test_a_line_that_has_stopped_says_so() -> None:
    with running(ScriptedModel(echo), question("old")) as (pipeline, heard):
        heard.wait(lambda one: True)
    with pytest.raises(StreamQAError, match="stopped"):
        pipeline.asked.add_question(question("new"))
    with pytest.raises(StreamQAError, match="stopped"):
        pipeline.asked.generate(Request(None, (Prompt("?"),)))


def test_single_questions_are_counted_by_what_became_of_them() -> None:
    metrics = Metrics()

    def count(outcome: str) -> float | None:
        return metrics.registry.get_sample_value("streamqa_single_questions_total", {"outcome": outcome})

    with running(ScriptedModel(echo), question("old"), metrics=metrics) as (pipeline, heard):
        heard.wait(lambda one: one["question"] == "old")
        pipeline.asked.ask_once("gate", question("once", "Who?"), NEWEST)
    with pytest.raises(StreamQAError):
        pipeline.asked.ask_once("gate", question("once", "Who?"), NEWEST)
    assert (count("answered"), count("failed"), count("refused")) == (1, 1, None)
    assert metrics.registry.get_sample_value("streamqa_single_question_seconds_count") == 2
