"""Zones, active hours and the age of frames, through the whole engine."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamqa.capture.buffer import Offer
from streamqa.engine.engine import Clocks, Engine, EngineSettings
from streamqa.engine.views import Views
from streamqa.errors import ModelError
from streamqa.hours import parse_hours
from streamqa.metrics import Metrics
from streamqa.records import Answer
from streamqa.testing import ScriptedModel, make_frame
from streamqa.types import NS_PER_S, Frame, Gate, Generation, Point, Prompt, Question, Request, Value, Zone

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
LEFT = Zone((Point(0, 0), Point(0.5, 0), Point(0.5, 1), Point(0, 1)))
RIGHT = Zone((Point(0.5, 0), Point(1, 0), Point(1, 1), Point(0.5, 1)))


def question(id: str = "q", zone: Zone | None = None, **fields: Any) -> Question:
    known: dict[str, Any] = {"ask": f"{id}?", "kind": "yes_no", "every_ns": NS_PER_S}
    return Question(id=id, zone=zone, **(known | fields))


def halves(left: int = 0, right: int = 255) -> np.ndarray:
    """A picture whose halves are of two grey levels."""
    image = np.full((20, 40, 3), left, np.uint8)
    image[:, 20:] = right
    return image


class Watching(ScriptedModel):
    """Says whether a picture is bright; keeps the shape and the prompts of each request, call by call."""

    def __init__(self, script: Any = None, **info: Any) -> None:
        super().__init__(script or (lambda image, prompt: bool(image.mean() > 127)), **info)
        self.calls: list[list[tuple[int, list[str]]]] = []

    def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
        shown = [(0 if r.image is None else r.image.shape[1], [p.text for p in r.prompts]) for r in requests]
        self.calls.append(shown)
        return super().answer(requests)


class Line:
    """An engine, its model, and a clock that a test sets."""

    def __init__(self, *questions: Question, model: Watching | None = None, **fields: Any) -> None:
        self.now_ns, self.metrics, self.model = 0, Metrics(), model or Watching()
        clocks = Clocks(lambda: self.now_ns, lambda: NOON)
        settings = EngineSettings(clocks=clocks, **fields)
        self.engine = Engine(questions, self.model, lambda _: None, self.metrics, settings)

    def step(self, *frames: Frame) -> list[Answer]:
        return self.engine.step(frames)

    def count(self, name: str, question: str = "q", **labels: str) -> float:
        labels |= {"source": "cam", "question": question}
        return self.metrics.registry.get_sample_value(f"streamqa_{name}_total", labels) or 0.0


def at(t_s: float, age_s: float = 0.0, live: bool = True, **fields: Any) -> Frame:
    """A frame that is `age_s` old at time 0 of the clock."""
    wall = NOON + timedelta(seconds=t_s) if live else None
    return make_frame(
        t_s=t_s, index=round(t_s), captured_at=wall, received_ns=-round(age_s * NS_PER_S), **fields
    )


# zones


def test_each_zone_of_a_frame_is_a_request_of_its_own_and_equal_zones_share_one() -> None:
    line = Line(
        question("a", RIGHT), question("b"), question("c", LEFT), question("d", replace(RIGHT)), question("e")
    )
    answers = line.step(at(0, image=halves(0, 200)), at(1, image=halves(255, 255)))
    once = [(20, ["a?", "d?"]), (40, ["b?", "e?"]), (20, ["c?"])]
    assert line.model.calls == [once * 2]
    assert [a.question for a in answers] == [*"abcde", *"abcde"]  # in their own order, whatever the requests
    assert [a.reading.value for a in answers] == [True, False, False, True, False, *[True] * 5]


def test_places_in_a_zone_are_told_as_places_in_the_picture() -> None:
    model = Watching(lambda image, prompt: (Point(0.5, 0.25),))
    found = Line(question("a", RIGHT, kind="points"), question("b", kind="points"), model=model).step(at(0))
    assert [a.reading.value for a in found] == [(Point(0.75, 0.25),), (Point(0.5, 0.25),)]
    assert found[0].decision.value == found[0].reading.value


def test_the_gate_of_a_question_looks_at_its_zone() -> None:
    gate = Gate(0.02, 100 * NS_PER_S, audit=0.0)
    line = Line(question("l", LEFT, gate=gate), question("r", RIGHT, gate=gate), question("w", gate=gate))
    levels = [(0, 0), (0, 200), (90, 200), (90, 200)]
    answers = [line.step(at(t, image=halves(*level))) for t, level in enumerate(levels)]
    reused = [[a.question for a in found if a.reused] for found in answers]
    assert reused == [[], ["l"], ["r"], ["l", "r", "w"]]
    assert [len(call) for call in line.model.calls] == [3, 2, 2]


def test_a_zone_on_which_the_model_fails_leaves_the_others() -> None:
    def say(image: Any, prompt: Prompt) -> Value:
        if image.shape[1] == 20 and image.mean() > 127:
            raise ModelError("cannot see it")
        return True

    line = Line(question("a", RIGHT), question("b"), question("c", LEFT), model=Watching(say))
    answers = line.step(at(0, image=halves()), at(1, image=halves(0, 0)))
    assert [a.reading.state for a in answers] == ["error", *["ok"] * 5]


def test_pictures_fill_the_memory_of_a_model_not_frames() -> None:
    three = [question("a", RIGHT), question("b"), question("c", LEFT)]
    line = Line(*three, model=Watching(max_frames=7))
    offers = [Offer(at(t, live=False), 0, False) for t in range(5)]
    assert line.engine.choose(offers) == 2
    line.step(*(offer.frame for offer in offers[:2]))
    assert [len(call) for call in line.model.calls] == [6]


def test_a_frame_with_more_zones_than_fit_is_asked_about_in_parts() -> None:
    zones = [Zone((Point(0, 0), Point(x / 10, 0), Point(0, 1))) for x in range(1, 8)]
    line = Line(*(question(f"q{n}", zone) for n, zone in enumerate(zones)), model=Watching(max_frames=3))
    assert line.engine.choose([Offer(at(t, live=False), 0, False) for t in range(2)]) == 1
    answers = line.step(at(0, image=halves(255, 255)))
    assert [len(call) for call in line.model.calls] == [3, 3, 1]
    assert [a.question for a in answers] == [f"q{n}" for n in range(7)]
    assert {a.reading.state for a in answers} == {"ok"}


# stale


def test_a_live_frame_that_is_too_old_is_answered_without_the_model() -> None:
    line = Line(
        question("q"), question("slow", every_ns=5 * NS_PER_S), question("old", max_age_ns=9 * NS_PER_S)
    )
    answers = line.step(at(0, age_s=2.1))
    assert line.model.calls == [[(32, ["slow?", "old?"])]]
    assert [a.question for a in answers] == ["q", "slow", "old"]
    assert [a.reading.state for a in answers] == ["stale", "ok", "ok"]
    (stale, *_) = answers
    assert (stale.reading.value, stale.reading.reason, stale.reading.confidence) == (None, "too_old", None)
    assert (stale.decision.state, stale.decision.reason, stale.decision.value) == ("stale", "too_old", None)
    assert (stale.model_ms, stale.reused, stale.changed) == (0, False, True)
    assert line.count("answers", state="stale") == 1


@pytest.mark.parametrize(
    ("age_s", "delay_s", "state"), [(2.0, 0, "ok"), (1.5, 0.5, "ok"), (1.5, 0.6, "stale")]
)
def test_the_age_of_a_frame_is_what_it_waited_and_what_it_took_to_come(
    age_s: float, delay_s: float, state: str
) -> None:
    (answer,) = Line(question()).step(at(0, age_s, delay_ns=round(delay_s * NS_PER_S)))
    assert answer.reading.state == state


def test_a_recording_never_goes_stale() -> None:
    (answer,) = Line(question()).step(at(0, 10_000, live=False, delay_ns=NS_PER_S * 99))
    assert answer.reading.state == "ok"


def test_an_image_that_waits_for_its_turn_has_a_time_of_day_but_never_goes_stale() -> None:
    """As those of a watched folder: captured when its file was written, and asked about however late, at any hour."""
    night = question(when=parse_hours("22:00-06:00 UTC"))
    (answer,) = Line(night).step(at(0, 10_000, is_live=False))
    assert answer.reading.state == "ok"
    assert answer.captured_at is not None


def test_a_frame_that_is_too_old_for_everything_costs_nothing() -> None:
    line = Line(question(), question("a", RIGHT), model=Watching(max_frames=1))
    offers = [Offer(at(t, age_s=3), 0, True) for t in range(3)] + [Offer(at(3), 0, True)]
    assert line.engine.choose(offers) == 4
    answers = line.step(*(offer.frame for offer in offers))
    assert [a.reading.state for a in answers] == ["stale"] * 6 + ["ok"] * 2
    assert [len(call) for call in line.model.calls] == [1, 1]
    assert line.step(at(4, age_s=3))[0].reading.state == "stale"
    assert len(line.model.calls) == 2


def test_a_stale_reading_does_not_vote() -> None:
    line = Line(question(window_ns=3 * NS_PER_S, decide="majority"))
    bright = halves(255, 255)
    answers = [line.step(at(t, age, image=bright))[0] for t, age in enumerate([0, 5, 5, 5])]
    assert [a.reading.state for a in answers] == ["ok", "stale", "stale", "stale"]
    assert [(a.decision.value, a.decision.state) for a in answers] == [(True, "ok")] * 3 + [(None, "stale")]
    assert [a.decision.agree for a in answers] == [1, 1, 1, 0]


def test_nothing_is_reused_from_before_or_for_a_stale_frame_and_the_draft_stays() -> None:
    gate = Gate(0.02, 100 * NS_PER_S, audit=0.0)
    drafts: list[str] = []

    def say(image: Any, prompt: Prompt) -> Value:
        drafts.append(prompt.draft)
        return "a dog"

    line = Line(question(kind="text", gate=gate), model=Watching(say))
    answers = [line.step(at(t, age))[0] for t, age in enumerate([0, 0, 5, 0, 0])]
    assert [(a.reading.state, a.reused) for a in answers] == [
        ("ok", False),
        ("ok", True),
        ("stale", False),
        ("ok", False),
        ("ok", True),
    ]
    assert drafts == ["", "a dog"]


# hours


def test_what_passed_outside_of_the_hours_comes_with_the_next_answer_and_is_counted() -> None:
    line = Line(question(when=parse_hours("12:00-12:01 UTC")), question("b"))
    minutes = [line.step(at(60.0 * n)) for n in range(3)]
    assert [[a.question for a in answers] for answers in minutes] == [["q", "b"], ["b"], ["b"]]
    offers = [Offer(at(180.0), 0, True)]
    assert line.engine.choose(offers) == 1
    (later, _) = line.step(at(86400.0))
    assert (later.skipped, later.inactive) == (59, 86400 - 60)
    assert line.count("ticks_inactive") == 86400 - 60
    assert line.count("ticks_skipped") == 59
    assert [line.count("ticks_inactive", "b"), line.count("ticks_skipped", "b")] == [0, 86400 - 3]


# the invariant


class Failing(Watching):
    """Fails at random, and is never handed more than fits."""

    def __init__(self, chance: random.Random, failing: float, **info: Any) -> None:
        super().__init__(**info)
        self.chance, self.failing = chance, failing

    def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
        assert len(requests) <= self.info.max_frames
        assert all(request.prompts for request in requests)
        if self.chance.random() < self.failing:
            raise self.chance.choice([ModelError("lost"), MemoryError("no room"), RuntimeError("bug")])
        return super().answer(requests)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    zones=st.lists(st.sampled_from([None, LEFT, RIGHT]), min_size=1, max_size=4),
    hours=st.sampled_from([None, "12:00-12:01 UTC", "12:01-12:02 UTC"]),
    failing=st.sampled_from([0.0, 0.2]),
    live=st.booleans(),
)
def test_every_tick_has_one_fate(
    seed: int, zones: list[Zone | None], hours: str | None, failing: float, live: bool
) -> None:
    chance = random.Random(seed)
    gates = [None, Gate(0.02, 5 * NS_PER_S, 0.2)]
    questions = [
        question(
            f"q{n}",
            zone,
            every_ns=chance.choice([1, 3, 7]) * NS_PER_S,
            gate=chance.choice(gates),
            when=parse_hours(hours) if hours else None,
            window_ns=chance.choice([0, 5 * NS_PER_S]),
        )
        for n, zone in enumerate(zones)
    ]
    line = Line(*questions, model=Failing(chance, failing, max_frames=chance.randint(1, 5)))
    frames, t_s, pauses = list[Frame](), 0, list[tuple[int, int]]()
    for _ in range(40):
        step = chance.choice([1, 1, 1, 2, 30])
        if step > 1 and chance.random() < 0.5:
            pauses.append((t_s * NS_PER_S + 1, (t_s + step) * NS_PER_S))
        t_s += step
        image = halves(chance.choice([0, 200]), chance.choice([0, 0, 200]))
        age = chance.choice([0, 0, 1.5, 3, 20])
        frames.append(at(t_s, age, live, image=image, pauses=tuple(pauses)))
    answers, shown = list[Answer](), {frame.index: frame for frame in frames}
    while frames:
        size = line.engine.choose([Offer(frame, 0, live) for frame in frames[: chance.randint(1, 6)]])
        answers += line.step(*frames[:size])
        frames = frames[size:]
    counts = Counter(a.question for a in answers)
    for q in questions:
        told = [a for a in answers if a.question == q.id]
        skipped, inactive = (
            line.engine.schedule.skipped(q.id, "cam"),
            line.engine.schedule.inactive(q.id, "cam"),
        )
        assert counts[q.id] + skipped + inactive == line.engine.schedule.passed(q.id, "cam")
        assert sum(a.skipped for a in told) <= skipped
        assert sum(a.inactive for a in told) <= inactive
        if not (live and hours):  # nothing is held back for an answer to come
            assert (sum(a.skipped for a in told), sum(a.inactive for a in told)) == (skipped, inactive)
        if not live:
            assert all(a.reading.state != "stale" for a in told)
        for a in told:
            if a.reading.state == "ok":  # also where it was reused
                seen = Views().of(shown[a.frame], q.zone).image
                assert a.reading.value == (seen.mean() > 127)
