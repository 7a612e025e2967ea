"""`streamqa bench answers --part events`: whether what happens becomes an alert, once and in time, and nothing else.

Streams of ten minutes at five frames a second, rendered for this and put through H.264 and the real line with the
embedded model. In each, twenty things happen at known times, by turns a person who comes by and a fire, for 4 to 15
seconds each; meanwhile cars and dogs pass, the gate, the lamp and the sky change. Each kind has an alert rule of its
own, so that a fire that raises the alert for people is a false one. A thing begins and ends with the moments at which
it is plainly in the picture, which is what the truth of the scenes goes by; it comes and goes within half a second.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from streamqa.bench.answers_line import records
from streamqa.bench.figures import Figure, Target
from streamqa.capture.encode import write_video
from streamqa.conditions import AlertRule, parse_condition
from streamqa.evaluate.material import CRF, X264
from streamqa.model.base import VisionModel
from streamqa.scenes import draw, sample
from streamqa.scenes.script import Visit, level
from streamqa.scenes.truth import facts
from streamqa.scenes.world import WIDTH, Scene, Thing
from streamqa.types import NS_PER_S, Question

EVENTS = 20
FPS = 5
N = 5  # readings of a window
_SLOT_S = 29.0  # one event in each
_SEED = 63_000_000  # of the scenes; no other measurement here has these
_LEAD_S, _FADE_S = 8.0, 0.4
_MOMENTS_PER_S = 50  # at which is looked whether something is plain to see
_YES = parse_condition("yes")
PERSON, FIRE = "person", "fire"
QUESTIONS: Mapping[str, Question] = {
    PERSON: Question(
        id=PERSON,
        ask="Is there a person?",
        kind="yes_no",
        every_ns=NS_PER_S,
        window_ns=N * NS_PER_S,
        decide="majority",
        alerts=(AlertRule(PERSON, _YES),),
    ),
    FIRE: Question(
        id=FIRE,
        ask="Is something burning?",
        kind="yes_no",
        every_ns=600_000_000,
        decide="k_of_n",
        k_of_n=(3, N),
        alerts=(AlertRule(FIRE, _YES, above=0.8, hold_ns=NS_PER_S),),
    ),
}
_WITHIN, _NONE = Target("<=", 1.5), Target("<=", 0.0)
_RAISED = Target("<=", math.ceil(N / 2) + 1.0)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens: the first and the last moment at which it is plain to see, in seconds."""

    what: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Told:
    """An event and the alerts of its rule that overlap it."""

    event: Event
    alerts: tuple[Mapping[str, Any], ...]  # payloads: the last known state of each, with `raised_s` beside it


class Script:
    """A scene of `events` things that happen one after the other, the same for the same seed."""

    def __init__(self, seed: int, events: int = EVENTS) -> None:
        rng = random.Random(f"events {seed}")
        self.seconds = events * _SLOT_S + 2 * _LEAD_S
        self.view = sample.view(rng, always=True)
        self._passing = [*self._cars(rng), *self._dogs(rng)]
        self._gate, self._light, self._sky = (
            tuple(self._times(rng, low, high)) for low, high in ((5, 14), (8, 20), (60, 120))
        )
        self._fires: list[tuple[float, float, float]] = []
        self._people: list[Visit] = []
        for number in range(events):
            begin = _LEAD_S + number * _SLOT_S + rng.uniform(2, 8)
            end = begin + rng.uniform(4, 15)
            if number % 2:
                self._fires.append((begin, end, WIDTH / 2 + rng.uniform(-6, 6)))
            else:
                self._people.append(self._person(rng, begin, end))

    def _person(self, rng: random.Random, begin: float, end: float) -> Visit:
        side = rng.choice((-1, 1))
        who = sample.person(
            rng, WIDTH / 2 + side * rng.uniform(60, 240), sample.front_y(rng), rng.uniform(118, 132)
        )
        return Visit(who, begin, end, side, speed=105.0)

    def _cars(self, rng: random.Random) -> Iterator[Visit]:
        for side in (-1, 1):
            now = rng.uniform(0, 10)
            while now < self.seconds:
                car = sample.car(rng, WIDTH / 2 + side * rng.uniform(90, 240), self.view)
                yield Visit(car, now, now + rng.uniform(6, 20), side, speed=165.0)
                now += rng.uniform(24, 60)

    def _dogs(self, rng: random.Random) -> Iterator[Visit]:
        now = rng.uniform(10, 30)
        while now < self.seconds:
            side = rng.choice((-1, 1))
            place = WIDTH / 2 + side * 160.0
            dog = Thing("dog", place, rng.uniform(322, 334), rng.uniform(39, 46), phase=rng.random())
            yield Visit(dog, now, now + rng.uniform(8, 13), side, speed=120.0)
            now += rng.uniform(40, 90)

    def _times(self, rng: random.Random, low: float, high: float) -> Iterator[float]:
        now = rng.uniform(low, high)
        while now < self.seconds:
            yield now
            now += rng.uniform(low, high)

    def scene(self, t_s: float) -> Scene:
        """The state of the world at `t_s` seconds."""
        visits = [*self._people, *self._passing]
        things = [thing for visit in visits if (thing := visit.at(t_s)) is not None]
        for begin, end, x in self._fires:
            burning = level((begin, end), t_s, _FADE_S)
            if burning > 0:
                things.append(Thing("fire", x, 334.0, 76.0, phase=t_s * 3 % 1.0, strength=burning))
        return Scene(
            self.view,
            tuple(things),
            daylight=1.0 - level(self._sky, t_s, 3.0),
            gate_open=level(self._gate, t_s, 1.2),
            light=level(self._light, t_s, 0.4),
            tick=int(t_s * 12),
        )

    def events(self) -> list[Event]:
        """What happens, in order of time, by what is true of the scenes."""
        found, begun = [], dict[str, float]()
        for number in range(round(self.seconds * _MOMENTS_PER_S)):
            t_s = number / _MOMENTS_PER_S
            present = facts(self.scene(t_s)).present
            for what in QUESTIONS:
                if present[what]:
                    begun.setdefault(what, t_s)
                elif what in begun:
                    found.append(Event(what, begun.pop(what), t_s - 1 / _MOMENTS_PER_S))
        return sorted(found, key=lambda event: event.begin_s)


def measure(model: VisionModel, streams: int, events: int, folder: Path) -> list[dict[str, Any]]:
    """Rows, JSON-ready: of each rule over `streams` streams of `events` events; files go into `folder`.

    Raises:
        StreamQAError: the line failed.
    """
    told: list[Told] = []
    false: list[Mapping[str, Any]] = []
    for number in range(streams):
        script, clip = Script(_SEED + number, events), folder / f"events-{number}.mp4"
        count = round(script.seconds * FPS)
        images = (np.asarray(draw.picture(script.scene(n / FPS))) for n in range(count))
        write_video(clip, images, FPS, crf=CRF, options=X264)
        said = [one for one in records(model, tuple(QUESTIONS.values()), clip) if one["type"] == "alert"]
        matched, unmatched = match(script.events(), alerts(said))
        told, false = told + matched, false + unmatched
    return [row(what, [one for one in told if one.event.what == what], false) for what in QUESTIONS]


def alerts(payloads: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each alert once, as its newest payload says, with the moment at which it was told: `raised_s`."""
    found: dict[str, dict[str, Any]] = {}
    for payload in payloads:
        raised_s = found.get(payload["alert_id"], {"raised_s": payload["t_s"]})["raised_s"]
        found[payload["alert_id"]] = {**payload, "raised_s": raised_s}
    return list(found.values())


def match(
    events: Sequence[Event], told: Sequence[Mapping[str, Any]]
) -> tuple[list[Told], list[Mapping[str, Any]]]:
    """Each event with the alerts of its rule that overlap it, give or take two slides; and the alerts of no event."""
    overlaps = {index: [one for one in told if _overlaps(event, one)] for index, event in enumerate(events)}
    of_some = {one["alert_id"] for these in overlaps.values() for one in these}
    matched = [Told(event, tuple(overlaps[index])) for index, event in enumerate(events)]
    return matched, [one for one in told if one["alert_id"] not in of_some]


def _overlaps(event: Event, alert: Mapping[str, Any]) -> bool:
    slack_s = 2 * QUESTIONS[event.what].every_ns / NS_PER_S
    end_s = math.inf if alert["ended_t_s"] is None else alert["ended_t_s"]
    return bool(
        alert["rule"] == event.what
        and alert["began_t_s"] <= event.end_s + slack_s
        and end_s >= event.begin_s - slack_s
    )


def row(what: str, told: Sequence[Told], false: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the alerts of one rule fit its events; times in slides, JSON-ready."""
    question = QUESTIONS[what]
    slide_s, hold_s = question.every_ns / NS_PER_S, question.alerts[0].hold_ns / NS_PER_S
    once = [(one.event, one.alerts[0]) for one in told if len(one.alerts) == 1]
    began = [(alert["began_t_s"] - event.begin_s) / slide_s for event, alert in once]
    ended = [
        (alert["ended_t_s"] - event.end_s) / slide_s
        for event, alert in once
        if alert["ended_t_s"] is not None
    ]
    raised = [(alert["raised_s"] - event.begin_s - hold_s) / slide_s for event, alert in once]
    return {
        "what": what,
        "events": len(told),
        "missed": sum(not one.alerts for one in told),
        "more_than_once": sum(len(one.alerts) > 1 for one in told),
        "false": sum(alert["rule"] == what for alert in false),
        "not_ended": len(once) - len(ended),
        "began_slides": [round(one, 3) for one in began],
        "ended_slides": [round(one, 3) for one in ended],
        "raised_slides": [round(one, 3) for one in raised],
    }


def figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """What is wanted of each rule; of times the worst counts."""
    found = []
    for one in rows:
        name = partial("{}: {}".format, one["what"])
        for key, what in (
            ("missed", "events without an alert"),
            ("more_than_once", "events with more than one"),
            ("false", "false alerts"),
            ("not_ended", "alerts that did not end"),
        ):
            found.append(Figure(name(f"{what}, of {one['events']}"), "", (float(one[key]),), _NONE))
        for key, what in (("began_slides", "began off by at most"), ("ended_slides", "ended off by at most")):
            if one[key]:
                found.append(Figure(name(what), "slides", (max(map(abs, one[key])),), _WITHIN))
        if one["raised_slides"]:
            late = max(one["raised_slides"])
            found.append(Figure(name("raised after, less `for`, at most"), "slides", (late,), _RAISED))
    return found


def markdown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as `measure` gives them, as a table for people."""
    lines = [
        "| Events | how many | missed | twice | false alerts | began off by, slides | ended off by"
        " | raised after, less `for` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        spans = [_span(one[key]) for key in ("began_slides", "ended_slides", "raised_slides")]
        counts = [str(one[key]) for key in ("events", "missed", "more_than_once", "false")]
        lines.append(f"| {' | '.join([one['what'], *counts, *spans])} |")
    return lines


def _span(offs: Sequence[float]) -> str:
    """`0.2 to 1.0`."""
    return f"{min(offs):.1f} to {max(offs):.1f}" if offs else "–"
