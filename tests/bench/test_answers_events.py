from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from streamqa.bench.answers_events import (
    FIRE,
    FPS,
    PERSON,
    QUESTIONS,
    Event,
    Script,
    alerts,
    figures,
    markdown,
    match,
    measure,
    row,
)
from streamqa.questions import check_question
from streamqa.scenes.truth import facts
from streamqa.testing import ScriptedModel
from streamqa.types import Prompt


def alert(
    name: str, began_s: float, ended_s: float | None, raised_s: float | None = None, rule: str = PERSON
) -> dict[str, Any]:
    return {
        "alert_id": name,
        "rule": rule,
        "began_t_s": began_s,
        "ended_t_s": ended_s,
        "raised_s": began_s + 2 if raised_s is None else raised_s,
    }


def test_what_is_asked_can_be_asked() -> None:
    for question in QUESTIONS.values():
        check_question(question)


def test_a_script_has_its_events_in_turn_and_is_the_same_again() -> None:
    script = Script(5, events=6)
    found = script.events()
    assert [event.what for event in found] == [PERSON, FIRE] * 3
    assert all(2 <= event.end_s - event.begin_s <= 15 for event in found)
    assert all(b.begin_s - a.end_s > 5 for a, b in pairwise(found))
    assert Script(5, events=6).events() == found
    present = facts(script.scene((found[0].begin_s + found[0].end_s) / 2)).present
    assert (present[PERSON], present[FIRE]) == (True, False)


def test_an_alert_is_its_newest_record_and_when_it_was_first_told() -> None:
    payloads = [
        {"alert_id": "a", "t_s": 12.0, "ended_t_s": None},
        {"alert_id": "b", "t_s": 13.0, "ended_t_s": None},
        {"alert_id": "a", "t_s": 20.0, "ended_t_s": 18.0},
    ]
    first, second = alerts(payloads)
    assert (first["alert_id"], first["raised_s"], first["ended_t_s"]) == ("a", 12.0, 18.0)
    assert (second["alert_id"], second["raised_s"], second["ended_t_s"]) == ("b", 13.0, None)


def test_alerts_are_matched_with_what_happened() -> None:
    events = [Event(PERSON, 10.0, 20.0), Event(PERSON, 40.0, 50.0), Event(FIRE, 60.0, 70.0)]
    told = [
        alert("one", 10.5, 21.0),
        alert("twice a", 40.0, 43.0),
        alert("twice b", 45.0, None),
        alert("of another rule", 62.0, 70.0),
        alert("nothing", 30.0, 34.0),
    ]
    matched, false = match(events, told)
    assert [[one["alert_id"] for one in of.alerts] for of in matched] == [["one"], ["twice a", "twice b"], []]
    assert [one["alert_id"] for one in false] == ["of another rule", "nothing"]
    people = row(PERSON, matched[:2], false)
    assert (people["missed"], people["more_than_once"], people["false"]) == (0, 1, 2)
    assert (people["began_slides"], people["ended_slides"], people["raised_slides"]) == ([0.5], [1.0], [2.5])
    fires = row(FIRE, matched[2:], false)
    assert (fires["missed"], fires["false"], fires["began_slides"]) == (1, 0, [])
    reached = {figure.name: figure.reached for figure in figures([people, fires])}
    assert reached["person: events with more than one, of 2"] is False
    assert reached["person: began off by at most"] is True
    assert reached["fire: events without an alert, of 1"] is False
    assert "| fire | 1 | 1 | 0 | 0 | – | – | – |" in markdown([people, fires])


def test_too_late_is_missed_and_too_early_too() -> None:
    late, _ = match([Event(PERSON, 10.0, 20.0)], [alert("a", 11.8, 22.0, raised_s=14.2)])
    reached = {figure.name: figure.reached for figure in figures([row(PERSON, late, [])])}
    assert reached["person: began off by at most"] is False
    assert reached["person: ended off by at most"] is False
    assert reached["person: raised after, less `for`, at most"] is False
    early, _ = match([Event(PERSON, 10.0, 20.0)], [alert("a", 8.2, 20.0)])
    assert {f.name: f.reached for f in figures([row(PERSON, early, [])])}[
        "person: began off by at most"
    ] is False


@pytest.mark.timeout(60)
def test_a_short_stream_goes_through_the_line(tmp_path: Path) -> None:
    script = Script(63_000_000, events=2)
    ticks = {name: iter(range(10_000)) for name in QUESTIONS}

    def said(_: object, prompt: Prompt) -> bool | None:
        name = PERSON if "person" in prompt.text else FIRE
        tick_s = next(ticks[name]) * QUESTIONS[name].every_ns / 1e9
        return facts(script.scene(tick_s)).present[name] is True

    people, fires = measure(ScriptedModel(said), 1, 2, tmp_path)
    for found in (people, fires):
        assert (found["events"], found["missed"], found["more_than_once"], found["false"]) == (1, 0, 0, 0)
        assert abs(found["began_slides"][0]) <= 1
        assert 0 <= found["ended_slides"][0] <= 1.5
    assert round(script.seconds * FPS) == 370
