"""Questions that are asked only while another one holds: at no cost otherwise, and with every tick accounted for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.buffer import FrameBuffer
from streamqa.conditions import parse_follow
from streamqa.engine.engine import Engine, EngineSettings
from streamqa.engine.schedule import Schedule
from streamqa.hours import parse_hours
from streamqa.metrics import Metrics
from streamqa.records import Answer
from streamqa.testing import ScriptedModel, make_frame
from streamqa.types import NS_PER_S, Frame, Prompt, Question, Value


def question(id: str, after: str | None = None, **fields: Any) -> Question:
    known: dict[str, Any] = {"ask": f"{id}?", "kind": "yes_no", "every_ns": NS_PER_S}
    return Question(id=id, **known | {"only_if": parse_follow(after) if after else None} | fields)


def bright(image: Any, prompt: Prompt) -> Value:
    """Somebody is there on a bright picture."""
    return bool(image.mean() > 100) if prompt.text == "person?" else True


def run(
    questions: Sequence[Question], frames: Sequence[Frame], max_frames: int = 8
) -> tuple[list[Answer], Engine]:
    """The whole of a recording, in batches of that size."""
    metrics, answers = Metrics(), list[Answer]()
    model = ScriptedModel(bright, max_frames=max_frames)
    engine = Engine(questions, model, answers.extend, metrics, EngineSettings())
    buffer = FrameBuffer(metrics, capacity=len(frames) + 1)
    buffer.add("cam", live=False)
    for frame in frames:
        buffer.put(frame)
    buffer.finish("cam")
    engine.run(buffer, threading.Event())
    return answers, engine


def film(fills: str) -> list[Frame]:
    """A frame a second: somebody is there at each #."""
    return [make_frame("cam", t, index=t, fill=200 if fill == "#" else 0) for t, fill in enumerate(fills)]


def seen(answers: Sequence[Answer], id: str) -> list[float]:
    return [answer.t_ns / NS_PER_S for answer in answers if answer.question == id]


@pytest.mark.parametrize("max_frames", [1, 3, 8])
def test_a_follow_up_is_asked_from_the_frame_after_on(max_frames: int) -> None:
    """Whatever goes into a batch: a recording gives the same answers at any speed."""
    answers, engine = run([question("hat", "person"), question("person")], film("..###..##."), max_frames)
    assert seen(answers, "hat") == [3, 4, 5, 8, 9]
    assert seen(answers, "person") == list(range(10))
    passed, inactive = engine.schedule.passed("hat", "cam"), engine.schedule.inactive("hat", "cam")
    assert (passed, inactive, engine.schedule.skipped("hat", "cam")) == (10, 5, 0)
    assert [a.inactive for a in answers if a.question == "hat"] == [3, 0, 0, 2, 0]


def test_it_costs_nothing_while_it_is_not_asked() -> None:
    metrics = Metrics()
    model = ScriptedModel(bright)
    engine = Engine([question("person"), question("hat", "person")], model, lambda answers: None, metrics)
    for frame in film(".."):
        engine.step([frame])
    assert model.batches == [[1], [1]]


def test_chains_and_other_kinds() -> None:
    asked = [
        question("cars", kind="number", max=4), question("bus", "cars >= 3"), question("who", "bus no"),
    ]  # fmt: skip
    schedule = Schedule(asked)

    def due(t: int) -> list[str]:
        return [d.question.id for d in schedule.due(make_frame("cam", t))]

    assert due(0) == ["cars"]
    schedule.decided("cars", "cam", 3, 0)
    assert due(1) == ["cars", "bus"]
    schedule.decided("bus", "cam", False, NS_PER_S)
    assert due(2) == ["cars", "bus", "who"]
    schedule.decided("cars", "cam", None, 2 * NS_PER_S)  # not known is not three
    schedule.decided("bus", "cam", False, 2 * NS_PER_S)  # which was in the model then
    assert due(3) == ["cars"]
    assert due(4) == ["cars"]


def test_a_chain_ends_also_where_its_first_question_is_paused_or_out_of_its_hours() -> None:
    noon = datetime(2026, 11, 28, 12, tzinfo=UTC)
    first = question("cars", when=parse_hours("08:00-12:00 UTC"))
    rest = [question("bus", "cars"), question("who", "bus")]
    for is_paused in (False, True):
        schedule = Schedule([first, *rest])

        def due(t: int, schedule: Schedule = schedule) -> list[str]:
            at = noon + timedelta(seconds=t - 2)
            frame = replace(make_frame("cam", t), captured_at=at, is_live=True)
            return [d.question.id for d in schedule.due(frame)]

        due(0)
        schedule.decided("cars", "cam", True, 0)
        schedule.decided("bus", "cam", True, 0)
        assert due(1) == ["cars", "bus", "who"]
        if is_paused:
            schedule.replace([replace(first, when=None, is_paused=True), *rest])
        assert due(2) == []
        assert due(5) == []
        assert (schedule.skipped("who", "cam"), schedule.inactive("who", "cam")) == (0, 5)


def test_what_is_between_the_thresholds_still_holds() -> None:
    def says(image: Any, prompt: Prompt) -> Any:
        from streamqa.types import Generation

        p = float(image.mean()) / 255
        return Generation("", 0, "scored", option_probs=(p, 1 - p))

    engine = Engine(
        [question("person", above=0.8), question("hat", "person")],
        ScriptedModel(says),
        lambda a: None,
        Metrics(),
    )
    found = [
        [a.question for a in engine.step([make_frame("cam", t, fill=fill)])]
        for t, fill in enumerate([250, 150, 150, 10, 10])
    ]
    assert found == [["person"], ["person", "hat"], ["person", "hat"], ["person", "hat"], ["person"]]


def test_ticks_that_overload_skipped_are_told_apart_from_those_not_asked() -> None:
    schedule = Schedule([question("hat", "person"), question("person")])
    schedule.due(make_frame("cam", 0))
    schedule.decided("person", "cam", True, 0)
    (hat, _) = schedule.due(make_frame("cam", 5))
    assert (hat.skipped, hat.inactive) == (4, 1)


def test_a_question_that_is_gone_paused_or_changed_holds_no_more() -> None:
    first, second = question("person"), question("hat", "person")
    for after in (
        [second],
        [question("person", is_paused=True), second],
        [question("person", ask="Who?"), second],
    ):
        schedule = Schedule([first, second])
        schedule.due(make_frame("cam", 0))
        schedule.decided("person", "cam", True, 0)
        assert "hat" in [d.question.id for d in schedule.due(make_frame("cam", 1))]
        schedule.replace(after)
        assert "hat" not in [d.question.id for d in schedule.due(make_frame("cam", 2))]


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=40))
def test_every_tick_is_answered_skipped_or_inactive(steps: list[tuple[int, bool]]) -> None:
    schedule, t, answered = Schedule([question("person"), question("hat", "person")]), 0, 0
    for step, holds in steps:
        t += step
        found = schedule.due(make_frame("cam", t))
        answered += sum(d.question.id == "hat" for d in found)
        schedule.decided("person", "cam", holds, t * NS_PER_S)
        accounted = answered + schedule.skipped("hat", "cam") + schedule.inactive("hat", "cam")
        assert accounted == schedule.passed("hat", "cam") == t + 1
