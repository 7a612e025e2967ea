import threading
from pathlib import Path
from typing import Any

import pytest

from streamqa.capture.source import SourceSpec
from streamqa.conditions import Condition, Follow
from streamqa.errors import ModelError, SourceError
from streamqa.evaluate.labels import Label, Truth
from streamqa.evaluate.replay import Labelled, Line, Replayed, Worded, replay, truths_at, without_ticks
from streamqa.hours import parse_hours
from streamqa.metrics import Metrics
from streamqa.testing import ScriptedModel
from streamqa.types import NS_PER_S, Gate, Generation, Prompt, Question
from tests.clips import PERSON, bright_when, brightness

MS = NS_PER_S // 1000


def label(question: str, begin_ms: int, end_ms: int, value: Truth, source: str = "a") -> Label:
    return Label(source, begin_ms * MS, end_ms * MS, question, value, 2)


def clip(tmp_path: Path, name: str = "a", seconds: float = 2.0) -> SourceSpec:
    path = bright_when(tmp_path / f"{name}.mp4", lambda t_s: t_s >= 1.0, seconds)
    return SourceSpec(name, str(path), pace="fast")


def contrary(image: Any, prompt: Prompt) -> bool:
    """Yes on a bright picture, but for "Nobody?"."""
    return brightness(image, prompt) != prompt.text.startswith("Nobody")


def run(
    worded: list[Worded],
    labels: list[Label],
    *specs: SourceSpec,
    model: ScriptedModel | None = None,
    **options: Any,
) -> Replayed:
    labelled = Labelled(tuple(labels), {spec.id: spec for spec in specs})
    line = Line(model or ScriptedModel(contrary), Metrics())
    return replay(worded, labelled, line, options.pop("stop", threading.Event()), **options)


def test_each_recording_is_looked_at_once_with_every_question_in_all_its_wordings(tmp_path: Path) -> None:
    car = Question(id="car", ask="A car?", kind="yes_no", every_ns=PERSON.every_ns)
    model, told = ScriptedModel(contrary), list[str]()
    worded = [Worded(PERSON, (PERSON.ask, "Nobody?")), Worded(car, ("A car?",))]
    labels = [label("person", 0, 1000, False), label("person", 1200, 3000, True), label("car", 0, 400, True)]
    found = run(worded, labels, clip(tmp_path), model=model, told=told.append)
    assert found.failures == {}
    (track,) = found.tracks["person"][PERSON.ask]
    assert track.times_ns == tuple(n * 200 * MS for n in range(10))
    assert [reading.value for reading in track.readings] == [False] * 5 + [True] * 5
    assert dict(track.readings[0].scores) == {
        "yes": pytest.approx(0.0816, abs=1e-4),
        "no": pytest.approx(0.9184),
    }
    assert track.truths == (False,) * 5 + (None,) + (True,) * 4
    (other,) = found.tracks["person"]["Nobody?"]
    assert [reading.value for reading in other.readings] == [True] * 5 + [False] * 5
    assert other.truths == track.truths
    assert found.tracks["car"]["A car?"][0].labelled == 2
    assert [prompts for batch in model.batches for prompts in batch] == [3] * 10
    assert told == ["replaying a (questions: 2, wordings: 3)"]


def test_a_question_is_asked_only_where_it_is_labelled(tmp_path: Path) -> None:
    car = Question(id="car", ask="A car?", kind="yes_no", every_ns=PERSON.every_ns)
    model = ScriptedModel(contrary)
    labels = [label("person", 0, 1000, False), label("car", 0, 9000, False, "b")]
    worded = [Worded(PERSON, (PERSON.ask,)), Worded(car, ("A car?",))]
    found = run(worded, labels, clip(tmp_path), clip(tmp_path, "b"), model=model)
    assert [track.source for track in found.tracks["person"][PERSON.ask]] == ["a"]
    assert [track.source for track in found.tracks["car"]["A car?"]] == ["b"]
    assert {prompts for batch in model.batches for prompts in batch} == {1}


def test_each_frame_is_read_by_itself_whatever_else_the_question_says(tmp_path: Path) -> None:
    question = Question(
        id="person", ask="?", kind="yes_no", every_ns=200 * MS, window_ns=NS_PER_S, decide="any", above=0.99,
        hold_ns=NS_PER_S, gate=Gate(1.0, NS_PER_S, 0.0), when=parse_hours("00:00-00:01 Europe/Rome"),
        only_if=Follow("nobody", Condition("is", "yes")), sources=("elsewhere",),
    )  # fmt: skip
    found = run([Worded(question, ("?",))], [label("person", 0, 2000, True)], clip(tmp_path))
    assert [reading.value for reading in found.tracks["person"]["?"][0].readings] == [False] * 5 + [True] * 5


def test_what_the_model_would_not_say_stays_unsure_with_its_scores(tmp_path: Path) -> None:
    model = ScriptedModel(lambda image, prompt: Generation("cat", 0, "scored", option_probs=(0.3, 0.1)))
    found = run([Worded(PERSON, ("?",))], [label("person", 0, 2000, True)], clip(tmp_path), model=model)
    reading = found.tracks["person"]["?"][0].readings[0]
    assert (reading.value, reading.state, reading.reason) == (None, "unsure", "off_list")
    assert dict(reading.scores) == {"yes": 0.75, "no": 0.25}


def test_nothing_is_read_behind_the_last_label(tmp_path: Path) -> None:
    model = ScriptedModel(contrary, delay_s=0.02, max_frames=1)
    found = run(
        [Worded(PERSON, ("?",))], [label("person", 0, 1000, True)], clip(tmp_path, seconds=20), model=model
    )
    (track,) = found.tracks["person"]["?"]
    assert track.labelled == 5
    assert len(track.times_ns) < 60


def test_a_user_who_wants_no_more_gets_no_more(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    found = run([Worded(PERSON, ("?",))], [label("person", 0, 1000, True)], clip(tmp_path), stop=stop)
    assert found.tracks["person"]["?"] == []


def test_a_recording_that_fails_costs_only_itself_and_a_question_that_cannot_be_asked_everything(
    tmp_path: Path,
) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    labels = [label("person", 0, 1000, True, "bad"), label("person", 0, 1000, False)]
    bad = SourceSpec("bad", str(tmp_path / "bad.mp4"))
    found = run([Worded(PERSON, ("?",))], labels, bad, clip(tmp_path))
    assert isinstance(found.failures["bad"], SourceError)
    assert [track.labelled for track in found.tracks["person"]["?"]] == [0, 5]
    with pytest.raises(ModelError, match="too long"):
        run(
            [Worded(PERSON, ("?",))], labels, bad, model=ScriptedModel(contrary, refuses=lambda _: "too long")
        )


def test_labels_say_what_is_true_from_their_beginning_up_to_their_end() -> None:
    labels = [label("q", 10, 20, 1), label("q", 12, 15, 1), label("q", 20, 30, 2), label("q", 40, 50, 1)]
    times = [9, 10, 14, 16, 19, 20, 29, 30, 40, 49, 50]
    truths = (None, 1, 1, 1, 1, 2, 2, None, 1, 1, None)
    assert truths_at([t * MS for t in times], labels) == truths
    assert truths_at([], labels) == ()
    assert truths_at([1], []) == (None,)


def test_labels_without_a_tick_are_named(tmp_path: Path) -> None:
    labels = [
        label("person", 0, 10, False),
        label("person", 10, 150, False),  # between two ticks
        label("person", 5000, 6000, False),  # behind the end
        label("person", 0, 9000, True, "away"),
    ]
    found = run([Worded(PERSON, ("?",))], labels[:3], clip(tmp_path))
    assert list(without_ticks(labels, found)) == labels[1:]
