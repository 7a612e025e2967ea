"""Who is let in, decided without a socket."""

from __future__ import annotations

from typing import Any

import pytest

from streamqa.metrics import Metrics
from streamqa.server.auth import Keyring
from streamqa.server.guard import SESSION_S, Guard, Knock, Refusal
from streamqa.server.locks import Locks
from streamqa.server.scopes import LOCAL, Visitor
from streamqa.service_settings import TokenConfig

TOKEN = "read-token-0123456789"
READER = Visitor("dash", "read")
PAGE = "http://cameras.example:8765"
HOST = "cameras.example:8765"


def make_guard(
    *, locked: bool = True, rate: tuple[float, float] = (50, 200), origins: tuple[str, ...] = ()
) -> Guard:
    tokens = (TokenConfig(name="dash", scope="read", token=TOKEN),) if locked else ()
    host = "0.0.0.0" if locked else "127.0.0.1"
    return Guard(host, 8765, Locks(Keyring(tokens), origins=frozenset(origins)), Metrics(), rate)


def knock(path: str = "/api/info", method: str = "GET", **more: Any) -> Knock:
    """A request; headers by their names with _ for -."""
    peer, query, is_websocket = more.pop("peer", "203.0.113.7"), more.pop("query", ""), more.pop("ws", False)
    headers = {"host": HOST, **{name.replace("_", "-"): value for name, value in more.items()}}

    def all_of(name: str) -> list[str]:
        value = headers.get(name)
        return [] if value is None else value if isinstance(value, list) else [value]

    return Knock(method, path, query, peer, all_of, is_websocket)


def status_of(found: Visitor | Refusal | None) -> int:
    assert isinstance(found, Refusal), found
    assert "\n" not in found.text
    return found.status


def refused(guard: Guard, why: str) -> float:
    return guard._metrics.registry.get_sample_value("streamqa_requests_refused_total", {"why": why}) or 0


def test_a_token_opens_the_door() -> None:
    guard = make_guard()
    assert guard.admit(knock(authorization=f"Bearer {TOKEN}"), 0) == READER
    assert guard.admit(knock(authorization=f"bearer  {TOKEN} "), 0) == READER
    assert guard.admit(knock("/", authorization=f"Bearer {TOKEN}"), 0) == READER


@pytest.mark.parametrize("header", [
    None, "", "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}, Bearer {TOKEN}",
    [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
])  # fmt: skip
@pytest.mark.parametrize("ws", [False, True])
def test_everything_else_does_not(header: Any, ws: bool) -> None:
    guard = make_guard()
    found = guard.admit(knock("/ws" if ws else "/metrics", authorization=header, ws=ws), 0)
    assert status_of(found) == 401
    assert isinstance(found, Refusal)
    assert found.headers == {"www-authenticate": "Bearer"}
    assert TOKEN[:-1] not in found.text
    assert refused(guard, "token") == 1


@pytest.mark.parametrize(
    "path", ["/", "/login", "/logout", "/healthz", "/readyz", "/static/login.js", "/static/style.css"]
)
def test_what_strangers_may_have(path: str) -> None:
    assert make_guard().admit(knock(path), 0) is None
    assert make_guard().admit(knock(path, authorization="Bearer wrong"), 0) is None
    assert status_of(make_guard().admit(knock(path, ws=True), 0)) == 401


@pytest.mark.parametrize("path", [
    "/ws", "/events", "/metrics", "/openapi.json", "/asyncapi.json", "/frames/1.jpg", "/api/records",
    "/static/app.js", "/sources/gate/latest.jpg", "/nowhere", "//", "/Login",
    "/login/", "/static/../api/info", "/static/login.js/",
    "/v1/chat/completions", "",
])  # fmt: skip
def test_what_strangers_may_not_have(path: str) -> None:
    assert status_of(make_guard().admit(knock(path), 0)) == 401


def test_without_tokens_whoever_is_on_this_machine_may_do_all() -> None:
    guard = make_guard(locked=False)
    assert guard.admit(knock(host="localhost:8765", peer="127.0.0.1"), 0) == LOCAL
    assert guard.admit(knock(host="localhost:8765", peer="::1", authorization="Bearer x"), 0) == LOCAL
    assert status_of(guard.admit(knock(host="evil.example"), 0)) == 403
    assert status_of(guard.admit(knock(host=["localhost", "localhost"]), 0)) == 403
    assert status_of(guard.admit(knock(host=None), 0)) == 403
    assert refused(guard, "host") == 3


def test_without_tokens_nobody_else_may_anything_wherever_it_listens() -> None:
    guard = Guard("0.0.0.0", 1, Locks(), Metrics(), (50, 200))
    assert guard.admit(knock(host="localhost", peer="127.0.0.1"), 0) == LOCAL
    for peer in ("203.0.113.7", "10.0.0.7", None, ""):
        for path in ("/", "/healthz", "/api/info"):
            assert status_of(guard.admit(knock(path, host="localhost", peer=peer), 0)) == 401
    assert (
        status_of(guard.admit(knock(host="10.0.0.7", peer="127.0.0.1"), 0)) == 403
    )  # a name of the attacker's


def test_with_tokens_a_proxy_may_give_any_name() -> None:
    guard = Guard("127.0.0.1", 1, Locks(make_guard()._keyring), Metrics(), (1, 9))
    assert guard.admit(knock(authorization=f"Bearer {TOKEN}"), 0) == READER


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_other_sites_may_do_nothing(locked: bool, method: str) -> None:
    guard = make_guard(locked=locked)
    host = HOST if locked else "localhost:8765"
    token = {"authorization": f"Bearer {TOKEN}", "host": host, "peer": "127.0.0.1"}
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9000"},
        {"origin": [f"http://{host}", "http://evil.example"]},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
    ):
        assert status_of(guard.admit(knock(method=method, **token, **headers), 0)) == 403, headers
        if "origin" in headers:
            assert status_of(guard.admit(knock("/ws", ws=True, **token, **headers), 0)) == 403, headers
    assert refused(guard, "origin") == 9
    assert isinstance(guard.admit(knock(method=method, origin=f"http://{host}", **token), 0), Visitor)
    assert isinstance(guard.admit(knock("/ws", ws=True, origin=f"http://{host}", **token), 0), Visitor)


@pytest.mark.parametrize(
    "query", ["token=x", "a=1&token=", "access_token=x", "Token=x", "bearer=x", f"token={TOKEN}", "%74oken=x"]
)
def test_no_token_in_a_url(query: str) -> None:
    guard = make_guard()
    for ws in (False, True):
        found = guard.admit(knock("/ws", query=query, ws=ws, authorization=f"Bearer {TOKEN}"), 0)
        assert status_of(found) == 400
        assert isinstance(found, Refusal)
        assert TOKEN not in found.text
    assert guard.admit(knock(query="tokens=1&q=token", authorization=f"Bearer {TOKEN}"), 0) == READER


def test_websockets_of_browsers_show_their_token_as_a_subprotocol() -> None:
    guard = make_guard()
    for offered in (f"streamqa, bearer.{TOKEN}", ["streamqa", f"bearer.{TOKEN}"], f"bearer.{TOKEN}"):
        assert guard.admit(knock("/ws", ws=True, sec_websocket_protocol=offered), 0) == READER
    for offered in ("streamqa", f"streamqa, {TOKEN}", "streamqa, bearer.", f"bearer.{TOKEN}x"):
        assert status_of(guard.admit(knock("/ws", ws=True, sec_websocket_protocol=offered), 0)) == 401
    assert status_of(guard.admit(knock(sec_websocket_protocol=f"bearer.{TOKEN}"), 0)) == 401  # not by HTTP


def logged_in(guard: Guard, now_s: float = 0) -> dict[str, str]:
    session = guard.log_in(knock("/login", "POST"), TOKEN, now_s)
    assert isinstance(session, str)
    return {"cookie": f"theme=dark; {guard.cookie}={session}"}


def test_a_session_is_as_good_as_its_token_until_it_ends() -> None:
    guard = make_guard()
    cookie = logged_in(guard)
    assert TOKEN not in cookie["cookie"]
    assert guard.admit(knock(**cookie), 1) == READER
    assert guard.admit(knock("/ws", ws=True, origin=PAGE, **cookie), 1) == READER
    assert guard.admit(knock("/", **cookie), 1) == READER
    assert guard.has_session(knock(**cookie), 1)
    assert not guard.has_session(knock(), 1)
    assert status_of(guard.admit(knock(cookie=f"{guard.cookie}=x"), 1)) == 401
    assert status_of(guard.admit(knock(cookie="other=x"), 1)) == 401
    assert status_of(guard.admit(knock(**cookie), SESSION_S)) == 401


def test_whoever_logs_out_is_out() -> None:
    guard = make_guard()
    cookie, other = logged_in(guard), logged_in(guard)
    guard.log_out(knock(**cookie))
    guard.log_out(knock())
    assert status_of(guard.admit(knock(**cookie), 1)) == 401
    assert guard.admit(knock(**other), 1) == READER


def test_with_a_cookie_changes_come_from_pages_of_this_server() -> None:
    guard = make_guard()
    cookie = logged_in(guard)
    assert status_of(guard.admit(knock(method="POST", **cookie), 1)) == 403
    assert status_of(guard.admit(knock(method="DELETE", **cookie), 1)) == 403
    assert guard.admit(knock(method="POST", origin=PAGE, **cookie), 1) == READER
    assert guard.admit(knock(method="POST", sec_fetch_site="same-origin", **cookie), 1) == READER
    assert guard.admit(knock(method="POST", authorization=f"Bearer {TOKEN}"), 1) == READER  # curl


def test_a_wrong_token_is_not_mended_by_a_cookie() -> None:
    guard = make_guard()
    assert status_of(guard.admit(knock(authorization="Bearer wrong", **logged_in(guard)), 1)) == 401


def test_logins_that_fail_are_slowed_down_for_that_address_also_the_right_token() -> None:
    guard = make_guard()
    attempts = [guard.log_in(knock("/login", "POST"), "wrong", 0) for _ in range(12)]
    assert [status_of(found) for found in attempts] == [401] * 10 + [429] * 2
    blocked = guard.log_in(knock("/login", "POST"), TOKEN, 0)
    assert status_of(blocked) == 429
    assert isinstance(blocked, Refusal)
    assert blocked.headers == {"retry-after": "10"}
    assert isinstance(guard.log_in(knock("/login", "POST", peer="203.0.113.8"), TOKEN, 0), str)
    assert isinstance(guard.log_in(knock("/login", "POST"), TOKEN, 10), str)
    assert refused(guard, "login") == 13


def test_logins_that_fail_are_slowed_down_for_all_together() -> None:
    guard = make_guard()
    for n in range(100):
        assert status_of(guard.log_in(knock("/login", "POST", peer=f"203.0.113.{n}"), "wrong", 0)) == 401
    assert status_of(guard.log_in(knock("/login", "POST", peer="198.51.100.1"), "wrong", 0)) == 429
    assert (
        guard.admit(knock(authorization=f"Bearer {TOKEN}"), 0) == READER
    )  # programs are not kept out by that
    assert isinstance(guard.log_in(knock("/login", "POST", peer="198.51.100.1"), TOKEN, 1), str)


def test_too_many_requests_of_one_address() -> None:
    guard = make_guard(rate=(2, 3))
    token = {"authorization": f"Bearer {TOKEN}"}
    found = [guard.admit(knock(**token), 0) for _ in range(4)]
    assert found[:3] == [READER] * 3
    assert status_of(found[3]) == 429
    assert isinstance(found[3], Refusal)
    assert found[3].headers == {"retry-after": "1"}
    assert status_of(guard.admit(knock("/healthz"), 0)) == 429
    assert guard.admit(knock(peer="203.0.113.8", **token), 0) == READER
    assert guard.admit(knock(**token), 1) == READER
    for _ in range(100):  # programs on this machine
        assert guard.admit(knock(peer="127.0.0.1", **token), 0) == READER
    assert refused(guard, "rate") == 2


def test_two_servers_on_one_machine_have_cookies_of_their_own() -> None:
    one, other = (Guard("0.0.0.0", port, Locks(), Metrics(), (1, 1)) for port in (8765, 8766))
    assert one.cookie != other.cookie


def test_a_page_of_another_site_that_may_come_needs_a_token_and_has_no_session() -> None:
    page = "https://dash.example"
    guard = make_guard(origins=(page,))
    session = guard.log_in(knock("/login", "POST"), TOKEN, 0)
    cookie, offered = f"{guard.cookie}={session}", f"streamqa, bearer.{TOKEN}"
    assert guard.admit(knock("/ws", ws=True, origin=page, sec_websocket_protocol=offered), 0) == READER
    assert guard.admit(knock("/ws", ws=True, origin=PAGE, cookie=cookie), 0) == READER
    assert status_of(guard.admit(knock("/ws", ws=True, origin=page, cookie=cookie), 0)) == 401
    assert status_of(guard.admit(knock("/ws", ws=True, origin=page), 0)) == 401
    for other in ("http://dash.example", "https://dash.example:444", "https://dash.example.evil", "null"):
        found = guard.admit(knock("/ws", ws=True, origin=other, sec_websocket_protocol=offered), 0)
        assert status_of(found) == 403
    assert status_of(guard.admit(knock(origin=page, authorization=f"Bearer {TOKEN}"), 0)) == 403  # /ws only
