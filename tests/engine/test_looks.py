"""What the model is shown beside the frame, and what is kept of it: storyboards, places drawn, views for alerts."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamqa.conditions import AlertRule, parse_condition
from streamqa.engine.engine import Engine, EngineSettings
from streamqa.metrics import Metrics
from streamqa.records import Answer
from streamqa.testing import ScriptedModel, make_frame
from streamqa.types import NS_PER_S, Box, Generation, Point, Prompt, Question, Value, Zone


def question(id: str = "q", kind: str = "yes_no", **fields: Any) -> Question:
    known: dict[str, Any] = {"ask": f"{id}?", "kind": kind, "every_ns": NS_PER_S}
    return Question(id=id, **known | fields)


class Shown:
    """A model that notes what it is shown, by question."""

    def __init__(self, says: Value = True) -> None:
        self.pictures: dict[str, list[np.ndarray]] = {}
        self.says = says
        self.model = ScriptedModel(self._say)

    def _say(self, image: Any, prompt: Prompt) -> Value:
        self.pictures.setdefault(prompt.text, []).append(image)
        return self.says if not prompt.options else True

    def run(self, questions: list[Question], fills: list[int], **settings: Any) -> list[Answer]:
        engine = Engine(questions, self.model, lambda a: None, Metrics(), EngineSettings(**settings))
        frames = [
            make_frame("cam", t, index=t, image=np.full((90, 160, 3), fill, np.uint8))
            for t, fill in enumerate(fills)
        ]
        return [answer for frame in frames for answer in engine.step([frame])]


def test_a_storyboard_shows_the_windows_frames_and_others_the_frame() -> None:
    shown = Shown()
    board = question("board", look="storyboard", window_ns=3 * NS_PER_S)
    answers = shown.run([board, question("plain")], [10, 60, 110, 160, 210], keep_evidence=True)
    assert [picture.shape for picture in shown.pictures["plain?"]] == [(90, 160, 3)] * 5
    pictures = shown.pictures["board?"]
    for fills, picture in ((10,), pictures[0]), ((10, 60), pictures[1]), ((110, 160, 210), pictures[4]):
        for fill in (10, 60, 110, 160, 210):
            assert (int((picture == fill).all(axis=2).sum()) > 9000) == (fill in fills), (fills, fill)
    assert {tuple(batch) for batch in shown.model.batches} == {(1, 1)}  # two pictures at once, a prompt each
    kept = next(a for a in answers if a.question == "board" and a.picture is not None)
    assert kept.picture is pictures[0]


def test_storyboards_of_two_questions_are_two_pictures() -> None:
    shown = Shown()
    windows = {"short": 2, "long": 4}
    shown.run([question(id, look="storyboard", window_ns=n * NS_PER_S) for id, n in windows.items()], [9] * 5)
    assert shown.pictures["long?"][-1].size > shown.pictures["short?"][-1].size


def test_places_are_drawn_on_the_whole_frame_that_is_kept() -> None:
    shown = Shown((Box(0.25, 0.25, 0.5, 0.5),))
    corner = Zone((Point(0, 0), Point(0.5, 0), Point(0.5, 0.5), Point(0, 0.5)))
    (answer,) = shown.run([question(kind="boxes", zone=corner)], [80], keep_evidence=True)
    assert answer.picture is not None
    assert answer.picture.shape == (90, 160, 3)
    assert (answer.picture != 80).any()
    assert (answer.picture[45:, 80:] == 80).all()  # the box lies in the first quarter
    (plain,) = Shown(()).run([question(kind="boxes")], [80], keep_evidence=True)
    assert plain.picture is not None
    assert (plain.picture == 80).all()


def test_places_that_move_are_no_change_and_more_of_them_are() -> None:
    shown = Shown((Point(0.1, 0.1),))
    engine = Engine([question(kind="points")], shown.model, lambda a: None, Metrics())
    found = []
    for t, says in enumerate([(Point(0.1, 0.1),), (Point(0.2, 0.1),), (), ()]):
        shown.says = says
        found += [a.changed for a in engine.step([make_frame("cam", t)])]
    assert found == [True, False, True, False]


def test_views_are_for_questions_with_alerts_where_pictures_are_kept() -> None:
    rule = AlertRule("a", parse_condition("yes"))
    for keeps, rules, expected in ((True, (rule,), True), (True, (), False), (False, (rule,), False)):
        answers = Shown().run([question(alerts=rules)], [5, 5], keep_evidence=keeps)
        assert [a.view is not None for a in answers] == [expected] * 2


def test_between_the_thresholds_nothing_changes() -> None:
    def says(image: Any, prompt: Prompt) -> Generation:
        p = float(image.mean()) / 255
        return Generation("", 0, "scored", option_probs=(p, 1 - p))

    metrics = Metrics()
    engine = Engine([question(above=0.8)], ScriptedModel(says), lambda a: None, metrics)
    fills = [150, 250, 150, 250, 150, 5]
    answers = [a for t, fill in enumerate(fills) for a in engine.step([make_frame("cam", t, fill=fill)])]
    assert [(a.decision.reason, a.changed) for a in answers] == [
        ("between", True), ("", True), ("between", False), ("", False), ("between", False), ("", True),
    ]  # fmt: skip
    labels = {"source": "cam", "question": "q"}
    assert metrics.registry.get_sample_value("streamqa_answer_flips_total", labels) == 1
    assert metrics.registry.get_sample_value("streamqa_answer_seconds_count", {"question": "q"}) == 6


def test_between_the_thresholds_nothing_stands_after_an_error() -> None:
    def says(image: Any, prompt: Prompt) -> Any:
        if image.mean() < 5:
            raise RuntimeError("broken")
        p = float(image.mean()) / 255
        return Generation("", 0, "scored", option_probs=(p, 1 - p))

    engine = Engine([question(above=0.8)], ScriptedModel(says), lambda a: None, Metrics())
    found = [
        (a.decision.state, a.changed)
        for t, fill in enumerate([250, 0, 150, 150])
        for a in engine.step([make_frame("cam", t, fill=fill)])
    ]
    assert found == [("ok", True), ("error", True), ("unsure", True), ("unsure", False)]


def test_what_a_changed_source_showed_before_counts_no_more() -> None:
    bright = ScriptedModel(lambda image, prompt: bool(image.mean() > 100))
    engine = Engine([question(window_ns=9 * NS_PER_S, decide="any")], bright, lambda a: None, Metrics())

    def decided(t: int, fill: int) -> list[Value]:
        return [a.decision.value for a in engine.step([make_frame("cam", t, fill=fill)])]

    assert [decided(0, 200), decided(1, 0)] == [[True], [True]]
    engine.renew("cam")
    assert decided(2, 0) == [False]
