from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.states import Life, Limits, News

S = 10**9
STALL, FROZEN = 5 * S, 3 * S

# Each event and how long after the one before it happens. "kept" has one of two checksums.
EVENTS = (
    "begun",
    "opened",
    "alive",
    "picture",
    "kept 1",
    "kept 2",
    "note",
    "lost",
    "refused",
    "hung",
    "paused",
)
EVENTS += ("resumed", "check", "over", "removed")
STEPS = st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 4 * S)), max_size=60)


def happen(life: Life, event: str, now: int) -> News | None:
    calls: dict[str, Callable[[], News | None]] = {
        "begun": lambda: life.begun("", now),
        "opened": lambda: life.opened(now),
        "alive": lambda: life.alive(now),
        "picture": lambda: life.picture(now),
        "kept 1": lambda: life.kept(1, now),
        "kept 2": lambda: life.kept(2, now),
        "note": lambda: life.note("decoded on the CPU"),
        "lost": lambda: life.lost("gone", False),
        "refused": lambda: life.lost("no", True),
        "hung": lambda: life.hung("hangs"),
        "paused": lambda: life.paused("by request"),
        "resumed": lambda: life.resumed(now),
        "check": lambda: life.check(now),
        "over": lambda: life.over("end"),
        "removed": lambda: life.over("removed", removed=True),
    }
    return calls[event]()


def told(script: str, limits: Limits) -> list[str]:
    """The states that are reported when these events happen at these seconds."""
    life, states = Life(limits), []
    for event, at in zip(words := iter(script.split()), words, strict=True):
        if news := happen(life, event.replace("=", " "), round(float(at) * S)):
            states.append(news.state)
    return states


CONNECTED = "begun 0 opened 1 picture 2"
STILL = f"{CONNECTED} kept=1 2 kept=1 4 kept=1 5"
CASES = {  # what happens: each event and its second -> what is told
    f"{CONNECTED}": "connecting live",
    f"{CONNECTED} check 6.9": "connecting live",
    f"{CONNECTED} check 7 check 9": "connecting live stalled",
    f"{CONNECTED} check 7 picture 8": "connecting live stalled live",
    f"{CONNECTED} alive 6 check 10": "connecting live",  # whoever waits is alive
    f"{CONNECTED} check 7 alive 8": "connecting live stalled live",
    "begun 0 opened 1 check 6 alive 7 picture 8": "connecting stalled connecting live",
    "begun 0 check 5": "connecting stalled",  # an open that hangs
    f"{CONNECTED} lost 3 check 100 opened 101 picture 102": "connecting live reconnecting live",
    f"{CONNECTED} lost 3 opened 101 check 105 check 106": "connecting live reconnecting stalled",
    "begun 0 refused 1 check 60": "connecting refused",
    f"{CONNECTED} kept=1 2 kept=1 6 check 6": "connecting live",  # two alike are not enough
    f"{STILL} check 5 picture 6 kept=1 6 picture 7 kept=2 7": "connecting live frozen live",
    f"{STILL} check 5 check 10 picture 11 kept=1 11 check 11": "connecting live frozen stalled live",
    f"{STILL} check 5 lost 6 picture 7 kept=1 7 check 7": "connecting live frozen reconnecting live",
    f"{CONNECTED} paused 3 picture 4 lost 5 check 60": "connecting live paused",
    f"{CONNECTED} paused 3 resumed 70 check 74 picture 75": "connecting live paused connecting live",
    f"{CONNECTED} over 3 lost 4 paused 5 check 60": "connecting live ended",
    f"{CONNECTED} over 3 removed 4 removed 5": "connecting live ended ended",
}


@pytest.mark.parametrize("script", CASES)
def test_what_is_told(script: str) -> None:
    assert " ".join(told(script, Limits(STALL, FROZEN))) == CASES[script]


def test_a_recording_is_neither_stalled_nor_frozen() -> None:
    assert told(f"{STILL} check 60 check 1000", Limits()) == ["connecting", "live"]


def test_reasons() -> None:
    life = Life(Limits(STALL, FROZEN))
    life.picture(0)
    assert life.check(5 * S) == News("stalled", "no frame for 5 s")
    life.picture(6 * S)
    assert life.note("decoded on the CPU") == News("live", "decoded on the CPU")
    assert life.note("decoded on the CPU") is None
    for t in (6, 7, 9):
        life.kept(1, t * S)
    why = "identical pictures for 3 s; a still scene under heavy compression can look so"
    assert life.check(9 * S) == News("frozen", why)
    assert life.kept(2, 10 * S) == News("live", "the picture changes again")


@given(STEPS)
def test_nothing_is_told_twice_nothing_after_the_end_and_no_silence_is_missed(
    steps: list[tuple[str, int]],
) -> None:
    life, now, last, gone = Life(Limits(STALL, FROZEN)), 0, None, False
    sign, is_open = 0, False
    for event, later in steps:
        now += later
        was = life.state
        news = happen(life, event, now)
        assert news is None or news != last
        assert news is None or not gone or event == "removed"
        assert life.state == (news.state if news else was)
        last, gone = news or last, gone or event in ("over", "removed")
        if gone:
            continue
        if was == "paused" and news:
            assert event in ("paused", "resumed", "begun")
        if event in ("begun", "opened", "resumed", "alive", "picture"):
            sign = now if event in ("begun", "opened") or (event == "resumed") == (was == "paused") else sign
        is_open = (is_open or event == "opened") and not (event in ("lost", "refused") and was != "paused")
        if event == "check" and was in ("connecting", "live", "frozen"):
            assert (life.state == "stalled") == (now - sign >= STALL)
        if event == "check" and was in ("reconnecting", "refused"):
            assert (life.state == "stalled") == (is_open and now - sign >= STALL)
        assert news is None or news.state != "stalled" or event in ("check", "hung")
        assert news is None or news.state != "frozen" or (event == "check" and was == "live")


def test_limits_are_not_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        Limits(-1, 0)
