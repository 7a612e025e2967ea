import hmac
from collections.abc import Callable

import pytest

from streamqa.server.auth import Keyring, Sessions
from streamqa.server.scopes import Visitor
from streamqa.service_settings import TokenConfig

TOKENS = {"dash": "read-token-0123456789", "bot": "ask-token-0123456789", "me": "admin-token-0123456789"}
CONFIGS = tuple(
    TokenConfig(name=name, scope=scope, token=TOKENS[name])
    for name, scope in (("dash", "read"), ("bot", "ask"), ("me", "admin"))
)


def test_each_token_opens_what_it_says() -> None:
    ring = Keyring(CONFIGS)
    assert ring
    assert ring.visitor(TOKENS["dash"]) == Visitor("dash", "read")
    assert ring.visitor(TOKENS["bot"]) == Visitor("bot", "ask")
    assert ring.visitor(TOKENS["me"]) == Visitor("me", "admin")


@pytest.mark.parametrize("make", [
    lambda t: "", lambda t: t[:-1], lambda t: t + "x", lambda t: t.upper(), lambda t: f" {t}", lambda t: "é" * 20,
    lambda t: "\ud800", lambda t: t * 1000,
])  # fmt: skip
def test_nothing_else_opens_it(make: Callable[[str], str]) -> None:
    assert Keyring(CONFIGS).visitor(make(TOKENS["dash"])) is None


def test_without_tokens_nothing_is_locked() -> None:
    assert not Keyring()
    assert Keyring().visitor("") is None


def test_only_digests_are_kept_and_they_differ_from_process_to_process() -> None:
    one, other = Keyring(CONFIGS), Keyring(CONFIGS)
    kept = repr(vars(one))
    assert not [token for token in TOKENS.values() if token in kept]
    assert vars(one)["_known"][0][0] != vars(other)["_known"][0][0]


REAL = hmac.compare_digest


class Counting:
    def __init__(self, compared: list[int]) -> None:
        self.compared = compared

    def compare_digest(self, a: bytes, b: bytes) -> bool:
        self.compared.append(len(a))
        return REAL(a, b)


def test_every_token_is_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Keyring(CONFIGS)
    for token in (*TOKENS.values(), "wrong", "x" * 5000):
        compared: list[int] = []
        monkeypatch.setattr("streamqa.server.auth.hmac", Counting(compared))
        ring.visitor(token)
        assert compared == [32, 32, 32]


DASH, BOT = Visitor("dash", "read"), Visitor("bot", "ask")


def test_a_session_lasts_its_time() -> None:
    sessions = Sessions(100, per_token=3)
    session = sessions.begin(DASH, now_s=5)
    assert len(session) == 43
    assert sessions.visitor(session, 5) == DASH
    assert sessions.visitor(session, 104.9) == DASH
    assert sessions.visitor(session, 105) is None
    assert sessions.visitor(session[:-1], 5) is None
    assert sessions.visitor("", 5) is None
    assert sessions.visitor("x" * 5000, 5) is None
    assert len(sessions) == 0


def test_a_session_can_be_ended() -> None:
    sessions = Sessions(100, per_token=3)
    one, two = sessions.begin(DASH, 0), sessions.begin(DASH, 0)
    sessions.end(one)
    sessions.end(one)
    sessions.end("never")
    assert sessions.visitor(one, 1) is None
    assert sessions.visitor(two, 1) == DASH


def test_sessions_are_bounded_for_each_token_by_itself() -> None:
    sessions = Sessions(100, per_token=3)
    other = sessions.begin(BOT, 0)
    begun = [sessions.begin(DASH, n) for n in range(10)]
    assert len(sessions) == 4
    assert [sessions.visitor(one, 10) is not None for one in begun] == [False] * 7 + [True] * 3
    assert sessions.visitor(other, 10) == BOT
    for session in begun[-3:]:
        sessions.end(session)
    assert len(sessions) == 1
    assert not any(session in repr(vars(sessions)) for session in [*begun, other])


class Noted:
    ended = False

    def abort(self) -> None:
        self.ended = True


def test_what_was_opened_with_a_session_ends_with_it() -> None:
    sessions = Sessions(100, per_token=2)
    ids = [sessions.begin(DASH, 0), sessions.begin(BOT, 0), sessions.begin(BOT, 50)]
    held = [Noted() for _ in ids]
    for session, holder in zip(ids, held, strict=True):
        sessions.hold(session, holder)
    gone = Noted()
    sessions.hold(ids[0], gone)
    del gone  # closed by itself
    sessions.hold("never", Noted())
    sessions.end(ids[0])
    assert [holder.ended for holder in held] == [True, False, False]
    assert sessions.visitor("whoever asks", 100) is None  # the second is overdue
    assert [holder.ended for holder in held] == [True, True, False]
    sessions.begin(BOT, 100)
    sessions.begin(BOT, 100)  # one too many
    assert [holder.ended for holder in held] == [True, True, True]
    assert len(sessions) == 2
