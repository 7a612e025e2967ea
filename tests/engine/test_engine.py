import random
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.buffer import Choose, FrameBuffer
from streamqa.engine.engine import Clocks, Engine, EngineSettings
from streamqa.errors import ModelError
from streamqa.metrics import Metrics
from streamqa.model.base import VisionModel
from streamqa.records import Answer
from streamqa.testing import ScriptedModel, generate, make_frame
from streamqa.types import NS_PER_S, Frame, Generation, Prompt, Question, Value

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def question(id: str = "q", kind: Any = "yes_no", every_s: float = 1, **fields: Any) -> Question:
    return Question(id=id, ask=f"{id}?", kind=kind, every_ns=round(every_s * NS_PER_S), **fields)


def brightness(image: Any, prompt: Prompt) -> Value:
    """Bright pictures: Yes, 9, "bright"; dark ones: No, 0, "dark"."""
    bright = bool(image.mean() > 127)
    if not prompt.options:
        return "bright" if bright else "dark"
    return (prompt.options[0] if bright == (len(prompt.options) == 2) else prompt.options[-1]).value


class Ticking:
    """A monotonic clock that advances by a fixed step at each look."""

    def __init__(self, step_ns: int) -> None:
        self.now_ns, self.step_ns = 0, step_ns

    def __call__(self) -> int:
        self.now_ns += self.step_ns
        return self.now_ns


def engine(*questions: Question, model: VisionModel | None = None, **fields: Any) -> Engine:
    """An engine; `fields` are settings of it, but for `emit` and `metrics`."""
    emit, metrics = fields.pop("emit", lambda _: None), fields.pop("metrics", None)
    settings = EngineSettings(**fields)
    return Engine(questions, model or ScriptedModel(brightness), emit, metrics or Metrics(), settings)


def test_an_answer_names_its_frame_its_time_and_its_model() -> None:
    frame = make_frame("gate", 2.5, index=7, fill=255, captured_at=NOON, received_ns=0)
    clocks = Clocks(Ticking(20_000_000), lambda: NOON)
    (answer,) = engine(question(), clocks=clocks).step([frame])
    assert (answer.source, answer.question, answer.kind) == ("gate", "q", "yes_no")
    assert (answer.frame, answer.t_ns, answer.captured_at, answer.clock) == (
        7,
        2_500_000_000,
        NOON,
        "arrival",
    )
    assert (answer.answered_at, answer.model) == (NOON, "scripted@1")
    assert (answer.queue_ms, answer.model_ms, answer.total_ms) == (40, 20, 60)
    assert (answer.skipped, answer.changed) == (2, True)
    assert (answer.decision.value, answer.reading.value, answer.reading.state) == (True, True, "ok")


def test_one_request_per_frame_and_one_call_per_batch() -> None:
    model = ScriptedModel(brightness)
    e = engine(question("a"), question("b", "text", sources=("cam",)), question("c", every_s=9), model=model)
    answers = e.step(
        [make_frame("cam", 0), make_frame("door", 0), make_frame("cam", 0.5), make_frame("cam", 1)]
    )
    assert model.batches == [[3, 2, 2]]
    assert [(a.source, a.question, a.t_ns // NS_PER_S) for a in answers] == [
        ("cam", "a", 0),
        ("cam", "b", 0),
        ("cam", "c", 0),
        ("door", "a", 0),
        ("door", "c", 0),
        ("cam", "a", 1),
        ("cam", "b", 1),
    ]


def test_nothing_due_is_no_model_call() -> None:
    model = ScriptedModel(brightness)
    e = engine(question(sources=("gate",)), model=model)
    assert e.step([]) == e.step([make_frame("door")]) == []
    assert len(e.step([make_frame("gate")])) == 1
    assert e.step([make_frame("gate", 0.9)]) == []
    assert model.batches == [[1]]


def test_changed_is_per_question_and_source() -> None:
    e = engine(question("a"), question("b", "text"))
    levels = [0, 0, 255, 255, 0]
    answers = [a for t, fill in enumerate(levels) for a in e.step([make_frame("cam", t, fill=fill)])]
    for id in ("a", "b"):
        assert [a.changed for a in answers if a.question == id] == [True, False, True, False, True]
    assert [a.changed for a in e.step([make_frame("door", 9)])] == [True, True]


def test_a_change_of_state_is_a_change() -> None:
    said: list[Value] = [None, None, True, None]
    e = engine(question(), model=ScriptedModel(lambda _image, _prompt: said.pop(0)))
    answers = [e.step([make_frame(t_s=t)])[0] for t in range(4)]
    assert [a.decision.state for a in answers] == ["unsure", "unsure", "ok", "unsure"]
    assert [a.changed for a in answers] == [True, False, True, True]


def test_the_window_decides_and_the_reading_stays() -> None:
    e = engine(question(window_ns=3 * NS_PER_S, decide="majority"))
    answers = [e.step([make_frame(t_s=t, fill=fill)])[0] for t, fill in enumerate([255, 255, 0])]
    assert [a.decision.value for a in answers] == [True, True, True]
    assert [a.reading.value for a in answers] == [True, True, False]
    assert (answers[-1].decision.frames, answers[-1].decision.agree) == (3, 2)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelError("device lost"), "model_error: device lost"),
        (RuntimeError("CUDA error\nlong story"), "model_error: RuntimeError: CUDA error long story"),
    ],
)
def test_a_batch_that_fails_is_answered_with_errors(error: Exception, reason: str) -> None:
    def fail(_image: Any, _prompt: Prompt) -> Value:
        if broken:
            raise error
        return True

    broken, metrics = True, Metrics()
    e = engine(question("a"), question("b"), model=ScriptedModel(fail), metrics=metrics)
    answers = e.step([make_frame("cam"), make_frame("door")])
    assert len(answers) == 4
    for answer in answers:
        assert (answer.decision.value, answer.decision.state, answer.decision.reason) == (
            None,
            "error",
            reason,
        )
    broken = False
    assert [a.decision.state for a in e.step([make_frame("cam", 1)])] == ["ok", "ok"]
    assert metrics.registry.get_sample_value("streamqa_model_errors_total") == 1


def test_a_prompt_that_fails_leaves_its_neighbours() -> None:
    def say(_image: Any, prompt: Prompt) -> Generation:
        failed = Generation("", 0, "error", error="too long")
        return failed if prompt.text == "b?" else generate(prompt, True)

    answers = engine(question("a"), question("b"), model=ScriptedModel(say)).step([make_frame()])
    assert [(a.decision.state, a.decision.reason) for a in answers] == [
        ("ok", ""),
        ("error", "model_error: too long"),
    ]


def test_a_failed_reading_in_a_window_does_not_vote_but_shows() -> None:
    said: list[Any] = [True, Generation("", 0, "error", error="x"), Generation("", 0, "error", error="x")]
    model = ScriptedModel(lambda _image, _prompt: said.pop(0))
    e = engine(question(window_ns=2 * NS_PER_S, decide="any"), model=model)
    answers = [e.step([make_frame(t_s=t)])[0] for t in range(3)]
    assert [a.reading.state for a in answers] == ["ok", "error", "error"]
    assert [(a.decision.value, a.decision.state) for a in answers] == [
        (True, "ok"),
        (True, "ok"),
        (None, "error"),
    ]


@pytest.mark.parametrize("shape", [[], [3], [1, 1], [2, 2], [2, 1, 1]])
def test_a_model_that_breaks_its_word_is_an_error(shape: list[int]) -> None:
    class Careless(ScriptedModel):
        def answer(self, requests: Any) -> list[list[Generation]]:
            return [[generate(requests[0].prompts[0], True)] * n for n in shape]

    e = engine(question("a"), question("b", sources=("cam",)), model=Careless(brightness))
    answers = e.step([make_frame("cam"), make_frame("door")])
    assert [a.decision.state for a in answers] == ["error"] * 3
    assert "another number of answers" in answers[0].decision.reason


@pytest.mark.parametrize("ask", ["x" * 10_000, "<|endoftext|><|md_reserved_0|> {0} %d \\", "\x00\x1b[2J", ""])
def test_any_question_reaches_the_model_as_it_is(ask: str) -> None:
    asked = []

    def say(_image: Any, prompt: Prompt) -> Value:
        asked.append(prompt.text)
        return True

    (answer,) = engine(replace(question(), ask=ask), model=ScriptedModel(say)).step([make_frame()])
    assert (asked, answer.decision.value) == ([ask], True)


def test_metrics_count_every_ticks_fate() -> None:
    metrics = Metrics()
    e = engine(question(), metrics=metrics)
    e.step([make_frame(t_s=0), make_frame(t_s=4.5)])
    labels = {"source": "cam", "question": "q"}
    value = metrics.registry.get_sample_value
    assert value("streamqa_answers_total", {**labels, "state": "ok"}) == 2
    assert value("streamqa_ticks_skipped_total", labels) == 3
    assert value("streamqa_model_seconds_count") == 1
    assert value("streamqa_frame_to_answer_seconds_count") == 2


def test_at_least_one_frame_a_batch() -> None:
    with pytest.raises(ValueError, match="max_frames"):
        engine(max_frames=0)


# run


def test_run_ends_when_the_buffer_is_exhausted() -> None:
    buffer, emitted, model = FrameBuffer(Metrics(), 10), list[Answer](), ScriptedModel(brightness)
    buffer.add("cam", live=False)
    for i in range(10):
        buffer.put(make_frame(t_s=i / 2, index=i))
    buffer.finish("cam")
    engine(question(), model=model, emit=emitted.extend, max_frames=4).run(buffer, threading.Event())
    assert [a.frame for a in emitted] == [0, 2, 4, 6, 8]
    assert model.batches == [[1, 1], [1, 1], [1]]


def test_run_waits_for_frames_that_are_late() -> None:
    class Late:
        exhausted = False
        left: list[list[Frame]] = [[make_frame(t_s=0)], [], [make_frame(t_s=1)], []]  # noqa: RUF012

        def wake(self) -> None: ...

        def take(self, choose: Choose, timeout_s: float) -> list[Frame]:
            frames = self.left.pop(0)
            self.exhausted = not self.left
            return frames

    emitted: list[Answer] = []
    engine(question(), emit=emitted.extend).run(Late(), threading.Event())
    assert len(emitted) == 2


def test_what_is_answered_when_stop_comes_is_emitted() -> None:
    stop, emitted = threading.Event(), list[Answer]()

    def say(_image: Any, _prompt: Prompt) -> Value:
        stop.set()
        return True

    buffer = FrameBuffer(Metrics())
    buffer.add("cam", live=False)
    for i in range(3):
        buffer.put(make_frame(t_s=i))
    engine(question(), model=ScriptedModel(say), emit=emitted.extend, max_frames=1).run(buffer, stop)
    assert [a.frame for a in emitted] == [0]
    assert not buffer.exhausted


def test_run_does_not_go_on_when_answers_cannot_be_handed_on() -> None:
    def emit(_: Sequence[Answer]) -> None:
        raise OSError("disk full")

    buffer = FrameBuffer(Metrics())
    buffer.add("cam", live=True)
    buffer.put(make_frame())
    with pytest.raises(OSError, match="disk full"):
        engine(question(), emit=emit).run(buffer, threading.Event())


# the invariant


@given(
    seed=st.integers(0, 2**32),
    every_s=st.lists(st.sampled_from([0.1, 0.25, 0.3, 1.0, 7.0]), min_size=1, max_size=3),
    lost=st.floats(0, 0.9),
    failing=st.floats(0, 0.5),
)
def test_answers_and_skipped_are_the_ticks_passed(
    seed: int, every_s: list[float], lost: float, failing: float
) -> None:
    """Whatever frames are lost and however the model fails, every tick is answered or reported."""
    chance = random.Random(seed)

    def say(_image: Any, prompt: Prompt) -> Generation | Value:
        if chance.random() < failing / 4:
            raise chance.choice([ModelError("lost"), RuntimeError("bug")])
        if chance.random() < failing:
            return Generation("", 0, "error", error="no")
        return chance.choice([True, False, None])

    sources = ("cam", "door")
    questions = [question(f"q{i}", every_s=s, window_ns=NS_PER_S) for i, s in enumerate(every_s)]
    e = engine(*questions, model=ScriptedModel(say))
    image = np.zeros((2, 2, 3), np.uint8)
    frames = [make_frame(source, i / 10, index=i, image=image) for i in range(60) for source in sources]
    kept = [frame for frame in frames if chance.random() >= lost]
    answers: list[Answer] = []
    while kept:
        size = chance.randint(1, 6)
        answers += e.step(kept[:size])
        kept = kept[size:]
    count = Counter((a.question, a.source) for a in answers)
    skipped: Counter[tuple[str, str]] = Counter()
    for a in answers:
        skipped[a.question, a.source] += a.skipped
        assert (a.reading.state == "ok") == (a.reading.value is not None)
    for q in questions:
        for source in sources:
            key = (q.id, source)
            assert count[key] + skipped[key] == e.schedule.passed(*key)
            times = [a.t_ns for a in answers if (a.question, a.source) == key]
            assert times == sorted(set(times))


def test_the_last_generated_text_is_the_next_draft_and_scored_questions_have_none() -> None:
    drafts: list[tuple[str, str]] = []

    def script(image: object, prompt: Prompt) -> str | bool:
        drafts.append((prompt.text, prompt.draft))
        return True if prompt.options else f"answer {len(drafts)}"

    questions = [
        Question(id="free", ask="What?", kind="text", every_ns=NS_PER_S),
        Question(id="closed", ask="Is it?", kind="yes_no", every_ns=NS_PER_S),
    ]
    engine = Engine(questions, ScriptedModel(script), lambda answers: None, Metrics())
    for t_s in range(3):
        engine.step([make_frame("a", t_s)])
    engine.step([make_frame("b", 0)])
    assert [draft for text, draft in drafts if text == "What?"] == ["", "answer 1", "answer 3", ""]
    assert {draft for text, draft in drafts if text == "Is it?"} == {""}
