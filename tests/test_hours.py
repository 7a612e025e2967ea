from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.hours import Hours, parse_hours

NIGHT, DAY = parse_hours("22:00-06:00 Europe/Rome"), parse_hours("8:30-18:00 UTC")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_hours_as_they_are_written() -> None:
    assert Hours(time(22), time(6), "Europe/Rome") == NIGHT
    assert str(NIGHT) == "22:00-06:00 Europe/Rome"
    assert parse_hours("00:00-24:00 UTC".replace("00:00-", "12:00-")).end == time(0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("22-6", "write hours as in"),
        ("22:00-06:00", "write hours as in"),
        ("25:00-06:00 UTC", "25:00 is no time"),
        ("22:00-06:61 UTC", "06:61 is no time"),
        ("22:00-06:00 Rome/Europe", "unknown time zone 'Rome/Europe'"),
        ("22:00-06:00 ../../etc/passwd", "unknown time zone"),
        ("08:00-08:00 UTC", "leave them out"),
        ("00:00-24:00 UTC", "leave them out"),
    ],
)
def test_hours_that_are_none(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_hours(text)


def test_they_begin_at_the_beginning_and_stop_before_the_end() -> None:
    assert DAY.active(utc("2026-01-05 08:30"))
    assert not DAY.active(utc("2026-01-05 18:00"))
    assert NIGHT.active(utc("2026-01-05 21:00"))  # 22:00 in Rome
    assert not NIGHT.active(utc("2026-01-05 05:00"))


def test_in_summer_the_place_is_an_hour_further() -> None:
    assert NIGHT.active(utc("2026-07-05 20:00"))
    assert not NIGHT.active(utc("2026-01-05 20:00"))


def test_the_night_in_which_clocks_go_forward_is_an_hour_shorter() -> None:
    (night,) = NIGHT.stretches(utc("2026-03-28 15:00"), utc("2026-03-29 15:00"))
    assert night == (utc("2026-03-28 21:00"), utc("2026-03-29 04:00"))
    (ordinary,) = NIGHT.stretches(utc("2026-02-28 15:00"), utc("2026-03-01 15:00"))
    assert ordinary[1] - ordinary[0] == timedelta(hours=8)


@given(
    since=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
    minutes=st.integers(1, 4000),
    at=st.floats(0, 1, exclude_max=True),
    hours=st.sampled_from([NIGHT, DAY]),
)
def test_stretches_are_where_it_is_active(since: datetime, minutes: int, at: float, hours: Hours) -> None:
    begin = since.replace(tzinfo=UTC)
    until = begin + timedelta(minutes=minutes)
    moment = min(begin + (until - begin) * at, until - timedelta(microseconds=1))  # the product is rounded
    inside = any(first <= moment < last for first, last in hours.stretches(begin, until))
    assert inside == hours.active(moment)


def test_where_clocks_go_forward_no_moment_is_counted_twice() -> None:
    hours = parse_hours("03:10-02:50 Europe/Rome")  # 2:50 and 3:10 on that day, the other way round
    parts = list(hours.stretches(utc("2026-03-28 12:00"), utc("2026-03-30 12:00")))
    assert all(first[1] <= second[0] for first, second in pairwise(parts))
    assert all(hours.active(begin) for begin, _ in parts)


def test_a_time_that_clocks_show_twice_is_meant_once() -> None:
    hours = parse_hours("02:15-02:45 Europe/Rome")
    assert hours.active(utc("2026-10-25 00:15"))
    assert not hours.active(utc("2026-10-25 01:15"))  # a quarter past two again
