"""All rules on all sources: what holds whatever is seen, by event time and without a clock."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from streamqa.conditions import AlertRule, parse_follow
from streamqa.engine.alerts import Alerts
from streamqa.hours import parse_hours
from streamqa.records import Alert
from streamqa.types import NS_PER_S, Question
from tests.engine.decisions import AT, Feed, question, reading, rule

rules = st.builds(
    rule,
    st.sampled_from(["yes", "no", "changed"]),
    hold_ns=st.sampled_from([0, 0, 2 * NS_PER_S, 5 * NS_PER_S]),
    cooldown_ns=st.sampled_from([0, 0, 3 * NS_PER_S, 20 * NS_PER_S]),
    k_of_n=st.sampled_from([(1, 1), (1, 1), (2, 3), (3, 5)]),
    above=st.sampled_from([None, None, 0.8]),
)
# Letters are readings; B: nothing is seen, L: it is again, blank: nobody answered.
stories = st.text(st.sampled_from("yyyyynnnnnYwues BL"), max_size=80)
windows = st.sampled_from(
    [
        {},
        {"window_ns": 5 * NS_PER_S, "decide": "majority"},
        {"window_ns": 3 * NS_PER_S, "decide": "mean", "above": 0.7},
    ]
)


def play(alerts: Alerts, feed: Feed, story: str) -> list[Alert]:
    told: list[Alert] = []
    for letter in story:
        if letter == "B":
            told += alerts.status(feed.status("stalled", "no frame"))
        elif letter == "L":
            told += alerts.status(feed.status("live"))
        elif letter != " ":
            told += alerts.decided(feed.answer(reading(letter))).alerts
        feed.t_ns += NS_PER_S
    return told


def check(told: list[Alert], judged: AlertRule) -> None:
    """At most one is open, begin and end alternate, the cooldown is kept, and times are in order."""
    open_: Alert | None = None
    last_end: Alert | None = None
    for alert in told:
        assert (alert.phase == "begin") == (open_ is None)
        if alert.phase == "begin":
            assert alert.t_ns - alert.began_ns >= judged.hold_ns
            if last_end is not None:
                assert alert.t_ns >= last_end.t_ns + judged.cooldown_ns
                assert last_end.ended_ns is not None
                assert alert.began_ns >= last_end.ended_ns
        else:
            assert open_ is not None
            assert (alert.alert_id, alert.began_ns) == (open_.alert_id, open_.began_ns)
            assert alert.duration_ns >= 0
        assert (alert.ended_ns is not None) == (alert.phase == "end")
        assert alert.began_ns <= (alert.t_ns if alert.ended_ns is None else alert.ended_ns) <= alert.t_ns
        open_ = None if alert.phase == "end" else alert
        last_end = alert if alert.phase == "end" else last_end


@given(rules, stories, windows)
def test_what_holds_of_every_story(judged: AlertRule, story: str, window: dict[str, object]) -> None:
    asked = question(judged, **window)
    check(play(Alerts([asked]), Feed(asked), story), judged)


@given(rules, stories, windows)
def test_nothing_begins_or_ends_while_nothing_is_seen(
    judged: AlertRule, story: str, window: dict[str, object]
) -> None:
    asked = question(judged, **window)
    alerts, feed = Alerts([asked]), Feed(asked)
    blind = False
    for letter in story:
        blind = letter == "B" or (blind and letter != "L")
        told = play(alerts, feed, letter)
        if blind or letter in "ues":
            assert [a for a in told if a.phase != "update"] == []
        if blind:
            assert all(a.is_blind for a in alerts.open())


def newest(told: list[Alert]) -> list[Alert]:
    """The newest record of each alert, the newest alerts first: what a log gives back."""
    known: dict[str, Alert] = {}
    for alert in reversed(told):
        known.setdefault(alert.alert_id, alert)
    return list(known.values())


@given(stories, stories, st.sampled_from([None, 0.8]))
def test_a_restart_in_the_middle_changes_nothing(before: str, after: str, above: float | None) -> None:
    """Of a rule that looks back at nothing: records are all that it needs to go on."""
    judged = rule(above=above)
    asked = question(judged)
    whole = Alerts([asked])
    feed = Feed(asked)
    told = play(whole, feed, before)
    again, other = Alerts([asked], newest(told)), Feed(asked, first_s=feed.t_ns / NS_PER_S)
    assert whole.status(feed.status("live")) == again.status(feed.status("live")) == []
    expected, found = play(whole, feed, after), play(again, other, after)
    # Before its first sure reading the old one may know since when the value holds, which the new one does not.
    plain = [
        (a.phase, a.alert_id if a.began_ns < other.t_ns and a in told else "", a.t_ns, a.is_blind)
        for a in expected
    ]
    assert [(p[0], p[2], p[3]) for p in plain] == [(a.phase, a.t_ns, a.is_blind) for a in found]
    if expected and told and told[-1].phase != "end":
        assert found[0].alert_id == expected[0].alert_id == told[-1].alert_id


@given(rules, stories, stories, windows)
def test_a_restart_never_opens_a_second_one(
    judged: AlertRule, before: str, after: str, window: dict[str, object]
) -> None:
    asked = question(judged, **window)
    feed = Feed(asked)
    told = play(Alerts([asked]), feed, before)
    again, later = Alerts([asked], newest(told)), Feed(asked, first_s=feed.t_ns / NS_PER_S)
    rest = play(again, later, after)
    open_ = told[-1].alert_id if told and told[-1].phase != "end" else None
    for alert in rest:
        assert (alert.phase == "begin") == (open_ is None)
        assert open_ in (None, alert.alert_id)
        open_ = None if alert.phase == "end" else alert.alert_id
    ends = [a for a in told if a.phase == "end"]
    begins = [a for a in rest if a.phase == "begin"]
    if ends and begins and not [a for a in rest if a.phase == "end" and a.at < begins[0].at]:
        assert begins[0].at >= ends[-1].at + timedelta(microseconds=judged.cooldown_ns / 1000)


@given(
    st.lists(st.tuples(st.integers(8, 30), st.integers(8, 30)), min_size=1, max_size=6),
    st.sampled_from([1, 3, 5, 7]),
    st.sampled_from([0, 2, 4]),
    st.floats(0, 0.99),
)
def test_events_are_alerted_once_and_in_time(
    spans: list[tuple[int, int]], frames: int, hold_s: int, offset: float
) -> None:
    """Each event once; its ends within 1.5 slides; raised within ⌈n/2⌉ + 1 slides + `for`."""
    judged = rule(hold_ns=hold_s * NS_PER_S)
    asked = question(judged, window_ns=frames * NS_PER_S, decide="majority")
    events, t = [], 0.0
    for quiet, busy in spans:
        events.append((t + quiet + offset, t + quiet + busy + offset))
        t += quiet + busy
    feed = Feed(asked, live=False)
    alerts = Alerts([asked])
    told = [
        alert
        for second in range(int(t) + 12)
        for answer in feed.answers("y" if any(a <= second < b for a, b in events) else "n")
        for alert in alerts.decided(answer).alerts
    ]
    begins, ends = ([a for a in told if a.phase == phase] for phase in ("begin", "end"))
    assert len(begins) == len(ends) == len(events)
    for (began, ended), begin, end in zip(events, begins, ends, strict=True):
        assert abs(begin.began_ns / NS_PER_S - began) <= 1.5
        assert end.ended_ns is not None
        assert abs(end.ended_ns / NS_PER_S - ended) <= 1.5
        assert begin.t_ns / NS_PER_S <= began + math.ceil(frames / 2) + 1 + hold_s


def test_each_source_and_each_rule_has_its_own() -> None:
    asked = question(rule(), rule("no", name="away"))
    alerts = Alerts([asked])
    gate, yard = Feed(asked, "gate"), Feed(asked, "yard")
    for feed, ticks in ((gate, "y"), (yard, "n"), (gate, "n")):
        for answer in feed.answers(ticks):
            alerts.decided(answer)
    assert [(a.source, a.rule) for a in alerts.open()] == [("gate", "away"), ("yard", "away")]


def test_a_frozen_picture_is_not_heard() -> None:
    asked = question(rule())
    alerts, feed = Alerts([asked]), Feed(asked)
    play(alerts, feed, "y")
    (blind,) = alerts.status(feed.status("frozen", "identical for 30 s"))
    assert (blind.is_blind, blind.reason) == (True, "frozen: identical for 30 s")
    assert play(alerts, feed, "nnn") == []
    (end,) = play(alerts, feed, "Ln")
    assert end.phase == "end"


def test_a_recording_that_is_over_ends_its_alerts_with_its_last_answer() -> None:
    asked = question(rule())
    alerts, feed = Alerts([asked]), Feed(asked, live=False)
    play(alerts, feed, "ny")
    assert alerts.status(feed.status("ended")) == []
    assert [a.phase for a in play(alerts, feed, "Y")] == ["update"]
    (end,) = alerts.finish("gate", "source ended", AT)
    assert (end.phase, end.reason, end.ended_ns) == ("end", "source ended", 2 * NS_PER_S)
    assert alerts.open() == []


def changed(asked: Question, **fields: object) -> Question:
    return replace(asked, **fields)  # type: ignore[arg-type]


def test_questions_that_change_end_their_alerts_and_a_pause_makes_them_blind() -> None:
    asked = question(rule())
    alerts, feed = Alerts([asked]), Feed(asked)
    play(alerts, feed, "y")
    (blind,) = alerts.replace([changed(asked, is_paused=True)], AT)
    assert (blind.phase, blind.reason) == ("update", "question paused")
    assert alerts.replace([asked], AT) == []
    assert [a.is_blind for a in play(alerts, feed, "y")] == [False]
    (end,) = alerts.replace([changed(asked, ask="Who?")], AT)
    assert (end.phase, end.reason) == ("end", "question changed")
    play(alerts, feed, "y")
    assert [a.reason for a in alerts.replace([], AT)] == ["question removed"]
    assert alerts.open() == []


def test_what_has_no_rule_any_more_ends_at_the_start() -> None:
    asked = question(rule())
    feed = Feed(asked)
    told = play(Alerts([asked]), feed, "y")
    assert Alerts([asked], told).orphans(["gate"], AT) == []
    (end,) = Alerts([question()], told).orphans(["gate"], AT)
    assert (end.phase, end.reason, end.alert_id) == ("end", "rule removed", told[0].alert_id)
    (gone,) = Alerts([asked], told).orphans(["yard"], AT)
    assert (gone.phase, gone.reason) == ("end", "source removed")


def test_what_comes_out_of_the_model_after_a_pause_is_not_heard() -> None:
    asked = question(rule())
    alerts, feed = Alerts([asked]), Feed(asked)
    play(alerts, feed, "y")
    alerts.replace([changed(asked, is_paused=True)], AT)
    assert play(alerts, feed, "Yn") == []
    assert [a.is_blind for a in alerts.open()] == [True]


def test_an_end_that_was_lost_in_a_full_log_is_told_at_the_next_start() -> None:
    asked = question(rule())
    begin, _, _, end = play(Alerts([asked]), Feed(asked), "ynyn")
    (late,) = Alerts([asked], [end, begin]).orphans(["gate"], AT)
    assert (late.phase, late.alert_id) == ("end", begin.alert_id)
    assert late.reason == "its end was not recorded"


def test_what_is_asked_of_other_sources_now_ends_at_the_start() -> None:
    asked = question(rule())
    told = play(Alerts([asked]), Feed(asked), "y")
    again = Alerts([changed(asked, sources=("yard",))], told)
    (end,) = again.orphans(["gate", "yard"], AT)
    assert (end.phase, end.reason) == ("end", "question changed")
    assert again.open() == []


def test_a_recording_that_was_stopped_is_not_told_to_have_lost_its_rule() -> None:
    asked = question(rule())
    told = play(Alerts([asked]), Feed(asked, live=False), "y")
    (end,) = Alerts([asked], told).orphans(["gate"], AT)
    assert (end.phase, end.reason, end.ended_at) == ("end", "stopped", None)


def test_what_is_asked_no_longer_is_not_seen() -> None:
    """Follow-ups of a question that does not hold any more, and their own."""
    first = question(id="car", every_ns=NS_PER_S)
    second = question(rule(), id="bus", only_if=parse_follow("car"))
    third = question(rule(), id="who", only_if=parse_follow("bus"))
    alerts = Alerts([third, second, first])
    feeds = [Feed(asked) for asked in (first, second, third)]
    assert [len(play(alerts, feed, "y")) for feed in feeds] == [0, 1, 1]
    blind = play(alerts, feeds[0], "n")
    assert [(a.question, a.is_blind, a.reason) for a in blind] == [
        ("bus", True, "not asked: car yes does not hold"), ("who", True, "not asked: bus yes does not hold"),
    ]  # fmt: skip
    assert play(alerts, feeds[0], "nu") == []
    (back,) = play(alerts, feeds[1], "y")
    assert (back.phase, back.question, back.is_blind) == ("update", "bus", False)


def test_a_pause_and_hours_are_also_those_of_what_has_to_hold() -> None:
    first = question(id="car", when=parse_hours("08:00-13:00 UTC"))
    second = question(rule(), id="bus", only_if=parse_follow("car"))
    alerts, feed = Alerts([first, second]), Feed(second)
    play(alerts, feed, "y")
    (blind,) = alerts.replace([changed(first, is_paused=True), second], AT)
    assert (blind.question, blind.reason) == ("bus", "not asked: car is paused")
    assert play(alerts, feed, "n") == []
    assert alerts.replace([first, second], AT) == []
    assert [a.is_blind for a in play(alerts, feed, "y")] == [False]
    (blind,) = alerts.looked(AT + timedelta(hours=1))
    assert (blind.question, blind.reason) == ("bus", f"outside of {first.when}")


def test_what_is_between_thresholds_still_lets_others_be_asked() -> None:
    first = question(id="car", above=0.8)
    second = question(rule(), id="bus", only_if=parse_follow("car"))
    alerts, feed = Alerts([first, second]), Feed(first)
    play(alerts, feed, "y")
    play(alerts, Feed(second), "y")
    assert play(alerts, feed, "w") == []
    assert [a.is_blind for a in alerts.open()] == [False]


def test_a_question_out_of_its_hours_is_not_seen() -> None:
    asked = question(rule(), when=parse_hours("08:00-13:00 UTC"))
    alerts, feed = Alerts([asked]), Feed(asked)
    play(alerts, feed, "y")
    assert alerts.looked(AT + timedelta(minutes=59)) == []
    (blind,) = alerts.looked(AT + timedelta(hours=1))
    assert (blind.is_blind, blind.reason) == (True, f"outside of {asked.when}")
    assert alerts.looked(AT + timedelta(hours=2)) == []
    recorded = Alerts([asked])
    play(recorded, Feed(asked, live=False), "y")
    assert recorded.looked(AT + timedelta(hours=1)) == []


def test_what_had_not_become_an_alert_by_the_end_of_the_hours_begins_anew() -> None:
    asked = question(rule(hold_ns=3 * NS_PER_S), when=parse_hours("08:00-13:00 UTC"))
    alerts, feed = Alerts([asked]), Feed(asked)
    assert play(alerts, feed, "yy") == []
    assert alerts.looked(AT + timedelta(hours=1)) == []
    feed.t_ns = 20 * 3600 * NS_PER_S
    assert play(alerts, feed, "yyy") == []
    (begin,) = play(alerts, feed, "y")
    assert begin.began_ns == 20 * 3600 * NS_PER_S
