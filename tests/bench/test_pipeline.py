from typing import Any

import pytest

from streamqa.bench.fixed import Call
from streamqa.bench.line import LineRun, Mark
from streamqa.bench.pipeline import Settings, bare, check, measure, rate, steady, typical_rate, whole_calls
from streamqa.bench.subscriber import Seen
from streamqa.errors import ConfigError, StreamQAError

MS = 1_000_000


def test_the_period_follows_from_the_load() -> None:
    settings = Settings(cameras=8, cost_ms=20.0)
    assert settings.every_ns(2.0) == 80 * MS
    assert settings.every_ns(0.5) == 320 * MS
    assert settings.fps == 15


def test_few_cameras_are_fast_ones_and_too_few_are_refused() -> None:
    assert Settings(cameras=2, cost_ms=20.0).fps == 50
    with pytest.raises(ConfigError, match="cannot keep a model of 5 ms busy"):
        Settings(cameras=1, cost_ms=5.0)


@pytest.mark.parametrize("wrong", [{"cameras": 0}, {"questions": 0}, {"rounds": 0}, {"cost_ms": 0.0}])
def test_settings_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        Settings(**wrong)


def test_a_rate_is_taken_between_ends() -> None:
    calls = [Call(0, 10 * MS, 5), Call(10 * MS, 110 * MS, 4), Call(110 * MS, 210 * MS, 6)]
    assert rate(calls) == pytest.approx(50.0)
    assert whole_calls(calls, 10 * MS) == calls[1:]
    with pytest.raises(StreamQAError, match="too few batches"):
        whole_calls(calls, 11 * MS)


def test_the_typical_rate_forgives_what_seldom_happens() -> None:
    ends_ms = [0, 10, 20, 90, 100, 120, 140]
    frames = [1, 1, 1, 1, 1, 2, 2]
    calls = [Call(0, end * MS, n) for end, n in zip(ends_ms, frames, strict=True)]
    assert typical_rate(calls) == pytest.approx(8 / 0.08)
    assert rate(calls) == pytest.approx(8 / 0.14)


def test_start_up_is_left_out() -> None:
    marks = [Mark(frames * MS, frames, 0.0, 0, 0) for frames in (0, 10, 30, 100)]
    assert steady(marks) == (marks[2], marks[3])
    assert steady([marks[0], marks[3], marks[3]]) == (marks[0], marks[3])
    with pytest.raises(StreamQAError, match="no frames"):
        steady(marks[3:])


def run(**fields: Any) -> LineRun:
    known: dict[str, Any] = {
        "seen": (), "hello_ns": 0, "missed": 0, "records": 9, "answers": 0, "unaccounted": 0, "calls": (),
        "marks": (), "kept": 0, "dropped": 0, "utc_offset_ns": 0, "rss_before": 0, "rss_after": 0,
    }  # fmt: skip
    return LineRun(**(known | fields))


def test_no_number_is_given_where_the_account_is_wrong() -> None:
    answers = (Seen(0, "a", "q", 0, 0, 0, 0.0, "ok"),) * 5
    check(run(seen=answers, answers=5))
    check(run(seen=answers, answers=7, missed=2), full_speed=True)
    wrong: list[tuple[dict[str, Any], bool, str]] = [
        ({}, False, "of 0 answers"),
        ({"seen": answers, "answers": 5, "unaccounted": 1}, True, "5 answers 1 were neither"),
        ({"seen": answers, "answers": 6}, False, "got 5 of 6"),
        ({"answers": 6}, True, "got 0 of 6"),
    ]
    for fields, full_speed, why in wrong:
        with pytest.raises(StreamQAError, match=why):
            check(run(**fields), full_speed)


def test_the_bare_engine_gets_batches_of_the_same_sizes() -> None:
    settings = Settings(cameras=2, questions=3, cost_ms=10.0)
    calls = bare(settings, [2, 1, 2])
    assert [call.frames for call in calls] == [2, 1, 2]
    assert calls[0].end_ns - calls[0].begin_ns >= 20 * MS


def test_a_small_run_has_every_figure() -> None:
    said: list[str] = []
    settings = Settings(2, 2, cost_ms=20.0, seconds=0.6, rounds=1, warm_up_s=0.2, clip_s=0.6)
    result = measure(settings, said.append)
    figures = {row["name"]: row for row in result["figures"]}
    assert result["settings"]["cameras"] == 2
    assert figures["busy: the line, of the bare engine"]["target"] == ">= 95"
    assert 0 < figures["busy: frames/s of the line"]["value"] <= 50
    assert 0 < figures["busy: frames/s of the bare engine"]["value"] <= 50
    assert figures["busy: frames replaced by newer ones"]["value"] > 0
    assert figures["half load: capture to subscriber beyond the model, p50"]["target"] == "<= 10"
    assert figures["half load: capture to subscriber beyond the model, p99"]["target"] == "<= 40"
    for load in ("busy", "half load"):
        p50, p95, p99 = (
            figures[f"{load}: capture to subscriber beyond the model, p{q}"]["value"] for q in (50, 95, 99)
        )
        assert 0 < p50 <= p95 <= p99
        kept, dropped = (
            figures[f"{load}: frames {what}"]["value"] for what in ("kept", "replaced by newer ones")
        )
        answers = figures[f"{load}: answers"]["value"]
        # At the end a frame of each camera may wait, and one more be kept and not taken any more.
        assert 0 <= kept - dropped - answers / 2 <= 4
    assert figures["no cost: the line's own ceiling, decoding included"]["value"] > 50
    assert len(said) == 4
