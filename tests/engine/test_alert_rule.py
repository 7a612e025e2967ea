from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from streamqa.conditions import AlertRule
from streamqa.engine.alert_rule import RuleState
from streamqa.hours import parse_hours
from streamqa.records import Alert
from streamqa.types import NS_PER_S
from tests.engine.decisions import AT, Feed, question, reading, rule


def state(judged: AlertRule, **fields: Any) -> tuple[RuleState, Feed]:
    asked = question(judged, **fields)
    return RuleState(judged), Feed(asked)


def told(judged: AlertRule, ticks: str | list[int], **fields: Any) -> list[Alert]:
    one, feed = state(judged, **fields)
    return [alert for answer in feed.answers(ticks) for alert in one.decided(answer).alerts]


def times(alerts: list[Alert]) -> list[tuple[str, float, float, float | None]]:
    """Phase, when it was known, began, ended: in seconds."""
    return [
        (
            a.phase,
            a.t_ns / NS_PER_S,
            a.began_ns / NS_PER_S,
            None if a.ended_ns is None else a.ended_ns / NS_PER_S,
        )
        for a in alerts
    ]


def test_begin_and_end() -> None:
    begin, end = told(rule(severity="critical"), "nnyynn")
    assert times([begin, end]) == [("begin", 2, 2, None), ("end", 4, 2, 4)]
    assert begin.alert_id == end.alert_id
    assert (begin.severity, begin.when, begin.value, begin.confidence) == ("critical", "yes", True, 0.9)
    assert begin.began_at == AT + timedelta(seconds=2)
    assert end.ended_at == AT + timedelta(seconds=4)
    assert (begin.duration_ns, end.duration_ns) == (0, 2 * NS_PER_S)


def test_recordings_have_no_wall_time_and_give_the_same_alerts_each_time() -> None:
    def once() -> list[Alert]:
        judged = rule()
        one, feed = RuleState(judged), Feed(question(judged), live=False)
        return [alert for answer in feed.answers("nyyn") for alert in one.decided(answer).alerts]

    first, second = once(), once()
    assert first == second
    assert {(a.began_at, a.ended_at) for a in first} == {(None, None)}


def test_it_has_to_hold() -> None:
    assert times(told(rule(hold_ns=3 * NS_PER_S), "nyynyyyyn")) == [("begin", 7, 4, None), ("end", 8, 4, 8)]


def test_what_is_not_known_neither_begins_nor_ends() -> None:
    assert times(told(rule(), "nyuesyn")) == [("begin", 1, 1, None), ("end", 6, 1, 6)]
    assert told(rule(), "uuees") == []
    assert times(told(rule(hold_ns=2 * NS_PER_S), "yuy")) == [("begin", 2, 0, None)]


def test_after_a_long_silence_it_has_to_hold_anew() -> None:
    assert times(told(rule(hold_ns=2 * NS_PER_S), "yeeeyyy")) == [("begin", 6, 4, None)]


def test_between_the_thresholds_an_alert_stays() -> None:
    assert times(told(rule(), "ywwwn", above=0.8)) == [("begin", 0, 0, None), ("end", 4, 0, 4)]


def test_above_is_for_the_beginning() -> None:
    # It began with the first reading of the run, which was not sure enough to be told of by itself.
    assert times(told(rule(above=0.8), "nwyww")) == [("begin", 2, 1, None)]
    assert told(rule(above=0.8), "nwwww") == []
    assert times(told(rule(above=0.8), "yn")) == [("begin", 0, 0, None), ("end", 1, 0, 1)]


def test_k_of_n() -> None:
    assert times(told(rule(k_of_n=(3, 5)), "nynynyyynynnnn")) == [("begin", 5, 1, None), ("end", 11, 1, 8)]
    assert told(rule(k_of_n=(3, 5)), "yynnnyynnn") == []


def test_cooldown_holds_back_and_is_counted_once() -> None:
    judged = rule(cooldown_ns=4 * NS_PER_S)
    one, feed = state(judged)
    found = [one.decided(answer) for answer in feed.answers("ynyyyyy")]
    assert times([a for t in found for a in t.alerts]) == [
        ("begin", 0, 0, None), ("end", 1, 0, 1), ("begin", 5, 2, None),
    ]  # fmt: skip
    assert [t.held_back for t in found] == [False, False, True, False, False, False, False]


def test_hours_are_for_the_beginning() -> None:
    night = rule(hours=parse_hours("22:00-06:00 UTC"))  # the feed begins at noon
    assert told(night, "yyyy") == []
    day = rule(hours=parse_hours("11:00-12:01 UTC"))
    judged, feed = state(day)
    assert [len(judged.decided(answer).alerts) for answer in feed.answers("y" * 70 + "n")][-1] == 1


def test_numbers_and_choices() -> None:
    judged = rule(">= 3")
    found = told(judged, [2, 3, 4, 4, 5, 2], kind="number")
    assert [(a.phase, a.value) for a in found] == [
        ("begin", 3), ("update", 4), ("update", 5), ("end", 5),
    ]  # fmt: skip
    assert {a.began_ns for a in found} == {NS_PER_S}


def test_a_change_is_an_alert_of_a_moment() -> None:
    found = told(rule("changed"), "nnyyn")
    assert times(found) == [("begin", 2, 2, None), ("end", 3, 2, 2), ("begin", 4, 4, None)]
    assert told(rule("changed"), "yyyuuy") == []


def test_the_peak_and_its_picture() -> None:
    judged = rule(hold_ns=NS_PER_S)
    one, feed = state(judged)
    views = [np.full((2, 2, 3), n, np.uint8) for n in range(6)]
    answers = [replace(a, view=v) for a, v in zip(feed.answers("wYwwyn"), views, strict=True)]
    begin, end = (alert for answer in answers for alert in one.decided(answer).alerts)
    assert begin.picture is views[1]  # the surest so far
    assert begin.peak_confidence == end.peak_confidence == 0.97
    assert end.picture is None
    one, feed = state(rule())
    answers = [replace(a, view=v) for a, v in zip(feed.answers("wwyY"), views, strict=False)]
    begin, update, higher = (alert for answer in answers for alert in one.decided(answer).alerts)
    assert (update.phase, update.peak_confidence, update.picture is views[2]) == ("update", 0.9, True)
    assert higher.picture is views[3]


def test_blind_is_told_once_and_ends_nothing() -> None:
    one, feed = state(rule(hold_ns=2 * NS_PER_S))
    begun = [a for answer in feed.answers("yyy") for a in one.decided(answer).alerts]
    (blind,) = one.blind("stalled: no frame for 5 s", 9 * NS_PER_S, AT + timedelta(seconds=9))
    assert (blind.phase, blind.is_blind, blind.reason) == ("update", True, "stalled: no frame for 5 s")
    assert blind.duration_ns == 9 * NS_PER_S
    assert one.blind("stalled: no frame for 5 s", 9 * NS_PER_S, AT) == []
    feed.t_ns = 20 * NS_PER_S
    (back,) = one.decided(feed.answer(reading("y"))).alerts
    assert (back.phase, back.is_blind, back.reason, back.alert_id) == ("update", False, "", begun[0].alert_id)
    (end,) = one.decided(feed.answer(reading("n"))).alerts
    assert (end.phase, end.duration_ns) == ("end", 20 * NS_PER_S)


def test_blind_forgets_what_was_coming() -> None:
    one, feed = state(rule(hold_ns=2 * NS_PER_S))
    assert [a for answer in feed.answers("yy") for a in one.decided(answer).alerts] == []
    assert one.blind("stalled", None, AT) == []
    found = [a for answer in feed.answers(" nyyy") for a in one.decided(answer).alerts]
    assert times(found) == [("begin", 6, 4, None)]


def test_after_blindness_it_has_to_hold_anew_though_the_window_still_says_the_same() -> None:
    one, feed = state(rule(hold_ns=3 * NS_PER_S))
    assert [a for answer in feed.answers("nyy") for a in one.decided(answer).alerts] == []
    assert one.blind("stalled", None, AT) == []
    feed.t_ns = 60 * NS_PER_S
    found = [a for answer in feed.answers("yyyy") for a in one.decided(answer).alerts]
    assert times(found) == [("begin", 63, 60, None)]


def test_after_silence_it_has_to_hold_anew_though_the_window_still_says_the_same() -> None:
    judged = rule(hold_ns=2 * NS_PER_S)
    assert times(told(judged, "yeeeyyy", window_ns=9 * NS_PER_S, decide="majority")) == [
        ("begin", 6, 4, None)
    ]


def test_it_began_with_its_run_however_long_the_window_took_to_decide() -> None:
    assert times(told(rule(), "yyyyyyyy", hold_ns=5 * NS_PER_S)) == [("begin", 5, 0, None)]
    assert times(told(rule(), "yyyyyyyy", decide="k_of_n", k_of_n=(5, 9))) == [("begin", 4, 0, None)]


def test_blind_is_told_once_whatever_the_reasons() -> None:
    """A camera that takes connections and gives no picture is stalled and reconnecting in turns, for days."""
    one, feed = state(rule())
    list(map(one.decided, feed.answers("y")))
    reasons = ["stalled: no frame", "reconnecting: x", "stalled: no frame"]
    assert [len(one.blind(reason, None, AT)) for reason in reasons] == [1, 0, 0]


def test_it_lasted_from_its_beginning_to_its_end() -> None:
    """Though it was told to last longer, before it was known that it had ended."""
    one, feed = state(rule(), window_ns=5 * NS_PER_S, decide="majority")
    list(map(one.decided, feed.answers("yyynn")))
    (blind,) = one.blind("stalled", 5 * NS_PER_S, AT)
    (end,) = one.decided(feed.answer(reading("n"))).alerts
    assert (blind.duration_ns, end.duration_ns) == (5 * NS_PER_S, 3 * NS_PER_S)
    assert end.ended_ns == end.began_ns + end.duration_ns


def test_an_open_alert_holds_no_picture() -> None:
    one, feed = state(rule())
    (answer,) = feed.answers("y")
    (begin,) = one.decided(replace(answer, view=np.zeros((2, 2, 3), np.uint8))).alerts
    assert begin.picture is not None
    assert one.open is not None
    assert one.open.picture is None


def test_an_alert_goes_on_after_a_restart() -> None:
    judged = rule()
    one, feed = state(judged)
    (begin,) = (a for answer in feed.answers("nyy") for a in one.decided(answer).alerts)
    again = RuleState(judged)
    again.restore(begin)
    later = Feed(question(judged))  # stream time begins anew, the wall's goes on
    answer = next(later.answers("n"))
    wall = AT + timedelta(seconds=61)
    (end,) = again.decided(replace(answer, captured_at=wall, answered_at=wall)).alerts
    assert (end.phase, end.alert_id, end.began_ns, end.ended_at) == ("end", begin.alert_id, NS_PER_S, wall)
    assert end.duration_ns == 60 * NS_PER_S


def test_a_cooldown_goes_on_after_a_restart() -> None:
    judged = rule(cooldown_ns=60 * NS_PER_S)
    one, feed = state(judged)
    *_, end = (a for answer in feed.answers("yn") for a in one.decided(answer).alerts)
    again = RuleState(judged)
    again.restore(end)
    later = Feed(question(judged), first_s=30)
    found = [a for answer in later.answers("y" * 60) for a in again.decided(answer).alerts]
    assert [a.phase for a in found] == ["begin"]
    assert found[0].at >= end.at + timedelta(seconds=60)


def test_the_end_of_all_pictures_ends_it() -> None:
    one, feed = state(rule())
    list(map(one.decided, feed.answers("yyy")))
    (end,) = one.end("source removed", None, AT + timedelta(seconds=5))
    assert (end.phase, end.reason, end.ended_ns) == ("end", "source removed", 2 * NS_PER_S)
    assert one.end("source removed", None, AT) == []


@pytest.mark.parametrize("ticks", ["", "u", "nnnn"])
def test_nothing_is_told_of_nothing(ticks: str) -> None:
    assert told(rule(), ticks) == []
