from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from streamqa.engine.schedule import Schedule
from streamqa.engine.tracks import Job, Stamps, Tracks
from streamqa.metrics import Metrics
from streamqa.records import Answer
from streamqa.testing import generate, make_frame
from streamqa.types import NS_PER_S, Frame, Gate, Generation, Prompt, Question, Value

STAMPS = Stamps(1_000_000, 3_000_000, datetime(2026, 7, 1, tzinfo=UTC), "m@1")
FAILED = Generation("", 0, "error", error="no")
GATE = Gate(threshold=0.02, refresh_ns=30 * NS_PER_S, audit=0.0)


def question(id: str = "q", gate: Gate | None = GATE, **fields: Any) -> Question:
    known: dict[str, Any] = {"ask": f"{id}?", "kind": "yes_no", "every_ns": NS_PER_S, "gate": gate}
    return Question(id=id, **(known | fields))


class Line:
    """A schedule and tracks, without a model between them."""

    def __init__(self, *questions: Question, seed: int = 0) -> None:
        self.metrics = Metrics()
        self.schedule, self.tracks = Schedule(questions), Tracks(questions, self.metrics, seed)

    def plan(self, frame: Frame, now_ns: int = 0) -> Job:
        return self.tracks.plan(frame, self.schedule.due(frame), now_ns)

    def read(self, job: Job, *said: Value | Generation) -> list[Answer]:
        """`said`: one for each prompt, request after request."""
        left = iter(said)
        found = [[generate(prompt, next(left)) for prompt in r.prompts] for r in job.requests]
        assert not list(left)
        return self.tracks.read(job, found, STAMPS)

    def count(self, name: str, source: str = "cam") -> float:
        labels = {"source": source, "question": "q"}
        return self.metrics.registry.get_sample_value(f"streamqa_{name}_total", labels) or 0.0


def at(t_s: float, fill: int = 0, source: str = "cam") -> Frame:
    return make_frame(source, t_s, fill=fill, index=round(t_s), received_ns=0)


def prompts(job: Job) -> list[Prompt]:
    return [prompt for request in job.requests for prompt in request.prompts]


def asked(line: Line, frames: Sequence[Frame], say: Value | Generation = True) -> list[bool]:
    """Of which frames the model was asked about, each read before the next is planned."""
    found = []
    for frame in frames:
        job = line.plan(frame)
        line.read(job, *[say for _ in prompts(job)])
        found.append(bool(prompts(job)))
    return found


def test_an_unchanged_picture_gives_the_last_answer_flagged() -> None:
    line = Line(question())
    (first,) = line.read(line.plan(at(0)), True)
    job = line.plan(at(1))
    assert prompts(job) == []
    (again,) = line.read(job)
    assert (first.reused, again.reused) == (False, True)
    assert again.reading == first.reading
    assert (again.frame, again.t_ns, again.changed, again.model_ms) == (1, NS_PER_S, False, 0)
    assert first.model_ms == 2
    assert line.count("answers_reused") == 1


def test_a_changed_picture_and_the_refresh_are_asked_about() -> None:
    frames = [at(0), at(1), at(2, 90), at(3, 90), *(at(t, 90) for t in (31, 32, 33))]
    assert asked(Line(question()), frames) == [True, False, True, False, False, True, False]


def test_without_a_gate_everything_is_asked_and_no_picture_is_reduced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("streamqa.engine.gate.thumbnail")
    line = Line(question(gate=None))
    assert asked(line, [at(t) for t in range(4)]) == [True] * 4


def test_a_question_with_and_one_without_a_gate_share_a_frame() -> None:
    line = Line(question("a", gate=None), question("q"))
    line.read(line.plan(at(0)), True, False)
    job = line.plan(at(1))
    assert [prompt.text for prompt in prompts(job)] == ["a?"]
    answers = line.read(job, False)
    assert [(a.question, a.reused, a.reading.value) for a in answers] == [
        ("a", False, False),
        ("q", True, False),
    ]


@pytest.mark.parametrize("said", [FAILED, None])
def test_errors_and_unsure_readings_are_never_reused(said: Generation | None) -> None:
    assert asked(Line(question()), [at(t) for t in range(3)], said) == [True] * 3
    line = Line(question())
    line.read(line.plan(at(0)), True)
    line.read(line.plan(at(1, 90)), said)
    assert prompts(line.plan(at(2, 0)))  # like the picture before, but that was not the last real answer


def test_what_is_still_in_the_model_is_asked_again() -> None:
    line = Line(question())
    line.read(line.plan(at(0)), True)
    first, second = line.plan(at(1, 90)), line.plan(at(2, 0))
    assert prompts(second)
    line.read(first, False)
    line.read(second, True)
    assert prompts(line.plan(at(3, 0))) == []


def test_audits_and_their_disagreements_are_counted() -> None:
    line = Line(question(gate=Gate(0.02, 30 * NS_PER_S, audit=1.0)))
    for t, said in enumerate([True, True, False, FAILED, True, True]):
        line.read(line.plan(at(t)), said)
    # the first has nothing before it, the failed one says nothing, and after it there is nothing to reuse
    assert line.count("gate_audits") == 3
    assert line.count("gate_disagreements") == 1
    assert line.count("answers_reused") == 0


def test_audits_depend_on_the_seed_and_the_stream_alone() -> None:
    gate = Gate(0.02, 1000 * NS_PER_S, audit=0.3)

    def drawn(seed: int, others: int) -> list[bool]:
        line = Line(question(gate=gate), seed=seed)
        found = []
        for t in range(60):
            for other in range(others):
                asked(line, [at(t, source=f"other{other}")])
            found += asked(line, [at(t)])
        return found

    assert drawn(1, 0) == drawn(1, 2)
    assert drawn(1, 0) != drawn(2, 0)


def test_reused_readings_vote_in_the_window() -> None:
    line = Line(question(window_ns=3 * NS_PER_S, decide="majority"))
    line.read(line.plan(at(0)), True)
    for t in (1, 2):
        (answer,) = line.read(line.plan(at(t)))
    assert (answer.decision.frames, answer.decision.agree) == (3, 3)


def test_the_newest_text_is_the_draft_also_after_a_reused_answer() -> None:
    line = Line(question(kind="text"))
    line.read(line.plan(at(0)), "a dog")
    line.read(line.plan(at(1)))
    (prompt,) = prompts(line.plan(at(2, 90)))
    assert prompt.draft == "a dog"
