from typing import Any

import pytest
from fastapi import HTTPException, Request

from streamqa.server.visitor import LOCAL, Visitor, guest_of, need, visitor_of


def request_of(visitor: Visitor | None) -> Request:
    return Request({"type": "http", "state": {"visitor": visitor}})


def refused(call: Any, visitor: Visitor | None) -> HTTPException:
    with pytest.raises(HTTPException) as caught:
        call(request_of(visitor))
    return caught.value


def test_whoever_may_is_let_through() -> None:
    asker = Visitor("desk", "ask")
    assert need("read")(request_of(asker)) is asker
    assert need("ask")(request_of(asker)) is asker
    assert need("admin")(request_of(LOCAL)) is LOCAL
    assert visitor_of(request_of(asker)) is guest_of(request_of(asker)) is asker


def test_whoever_may_not_is_told_what_it_takes() -> None:
    error = refused(need("admin"), Visitor("desk", "ask"))
    assert error.status_code == 403
    assert "scope admin" in error.detail


def test_strangers_are_asked_for_a_token() -> None:
    for call in (need("read"), visitor_of):
        error = refused(call, None)
        assert error.status_code == 401
        assert error.headers == {"www-authenticate": "Bearer"}
    assert guest_of(request_of(None)) is None
