"""Logging in, as a browser does it, against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from streamqa.server.auth import Keyring
from streamqa.server.locks import Locks
from streamqa.service_settings import TokenConfig

TOKEN = "admin-token-0123456789"
Client = httpx2.Client


@pytest.fixture
def client(site: Any, background: Any) -> Iterator[Client]:
    site.locks = Locks(Keyring((TokenConfig(name="me", scope="admin", token=TOKEN),)))
    with background(site), Client(base_url=site.http, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def own(client: Client) -> dict[str, str]:
    """What a browser sends from a page of this server."""
    return {"origin": str(client.base_url).rstrip("/")}


def test_the_page_is_for_those_who_are_in_and_others_get_the_one_to_log_in(client: Client, own: Any) -> None:
    stranger = client.get("/")
    assert stranger.status_code == 401
    assert 'id="login"' in stranger.text
    assert client.post("/login", json={"token": TOKEN}, headers=own).status_code == 204
    page = client.get("/")
    assert page.status_code == 200
    assert 'id="answers"' in page.text
    for response in (stranger, page):
        assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("form", [True, False])
def test_a_token_becomes_a_cookie_that_no_script_can_read(client: Client, form: bool) -> None:
    response = (
        client.post("/login", data={"token": TOKEN})
        if form
        else client.post("/login", json={"token": f" {TOKEN}\n"})
    )
    assert response.status_code == 204
    assert response.headers["cache-control"] == "no-store"
    (cookie,) = response.headers.get_list("set-cookie")
    value, *attributes = cookie.split("; ")
    assert {word.lower() for word in attributes} == {"httponly", "samesite=strict", "path=/", "max-age=43200"}
    assert TOKEN not in cookie
    assert len(value.partition("=")[2]) == 43
    assert client.get("/api/visitor").json() == {"name": "me", "scope": "admin", "session": True}


def test_the_cookie_is_for_https_only_where_that_is_spoken(client: Client) -> None:
    response = client.post("/login", json={"token": TOKEN}, headers={"x-forwarded-proto": "https"})
    assert "; Secure" in response.headers["set-cookie"]


def test_whoever_logs_out_is_out_and_logging_in_again_ends_the_old_session(
    client: Client, own: Any, site: Any
) -> None:
    client.post("/login", json={"token": TOKEN})
    old = dict(client.cookies)
    client.post("/login", json={"token": TOKEN}, headers=own)
    assert dict(client.cookies) != old
    name, value = next(iter(old.items()))
    gone = httpx2.get(f"{site.http}/api/info", headers={"cookie": f"{name}={value}"}, trust_env=False)
    assert gone.status_code == 401
    assert client.get("/api/info").status_code == 200
    assert client.post("/logout", headers=own).status_code == 204
    assert not client.cookies
    assert client.get("/api/info").status_code == 401


def test_wrong_tokens_are_refused_and_soon_slowed_down(client: Client, site: Any) -> None:
    statuses = [client.post("/login", json={"token": "wrong"}).status_code for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    response = client.post("/login", json={"token": TOKEN})
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) > 0
    assert "set-cookie" not in response.headers
    assert client.get("/api/info", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert (
        'requests_refused_total{why="login"} 13.0'
        in client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).text
    )


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b'"x"', b"null", b'{"token": 1}', b'{"token": ""}', b'{"token": ["x"]}', b"\xff", b"[" * 5000,
    b'{"Token": "x"}',
])  # fmt: skip
def test_bodies_that_hold_no_token(client: Client, body: bytes) -> None:
    for kind in ("application/json", "application/x-www-form-urlencoded", ""):
        response = client.post("/login", content=body, headers={"content-type": kind})
        assert response.status_code == 400, response.text
        assert "set-cookie" not in response.headers


def test_pages_of_other_sites_can_neither_log_in_nor_out_nor_change_anything(
    client: Client, own: Any
) -> None:
    evil = {"origin": "http://evil.example"}
    assert client.post("/login", json={"token": TOKEN}, headers=evil).status_code == 403
    client.post("/login", json={"token": TOKEN}, headers=own)
    assert client.post("/logout", headers=evil).status_code == 403
    assert client.post("/logout").status_code == 403  # a cookie, and no word of where it comes from
    assert client.get("/api/info").status_code == 200


def test_without_tokens_there_is_nothing_to_log_in_to(site: Any, background: Any) -> None:
    with background(site), Client(base_url=site.http, trust_env=False, timeout=10) as client:
        assert 'id="answers"' in client.get("/").text
        assert client.post("/login", json={"token": TOKEN}).status_code == 400
        assert client.get("/api/visitor").json() == {"name": "local", "scope": "admin", "session": False}
