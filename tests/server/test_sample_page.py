"""`samples/subscriber.html` in a real browser, served from elsewhere, as its first lines say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from streamqa.server.auth import Keyring
from streamqa.server.locks import Locks
from streamqa.service_settings import TokenConfig
from tests.cli.process import SAMPLES

TOKEN = "read-token-0123456789"
KEYRING = Keyring([TokenConfig(name="dash", scope="read", token=TOKEN)])
PATIENCE_MS = 10_000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def origin() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SAMPLES)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def page(browser: Any, origin: str) -> Iterator[Any]:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{origin}/subscriber.html")
    yield page
    context.close()


def follow(page: Any, site: Any, token: str) -> None:
    page.fill("[name=url]", site.ws)
    page.fill("[name=token]", token)
    page.click("button")


def until(page: Any, condition: Callable[[], bool]) -> None:
    """Wait, at most as long as the test may take."""
    while not condition():
        page.wait_for_timeout(20)


@pytest.mark.parametrize("token", [TOKEN, ""], ids=["locked", "open"])
def test_it_shows_what_comes_through_a_restart(
    page: Any, site: Any, origin: str, answer: Any, background: Any, token: str
) -> None:
    site.locks = Locks(KEYRING if token else Keyring(), origins=frozenset([origin]))
    with background(site):
        site.port = site.server.port
        follow(page, site, token)
        until(page, lambda: site.count("subscribers") == 1)
        site.server._task.get_loop().call_soon_threadsafe(site.publish, answer(1))
        page.wait_for_selector("li:has-text('gate person true')")
    with background(site):
        site.server._task.get_loop().call_soon_threadsafe(site.publish, answer(2, source="desk"))
        page.wait_for_selector("li:has-text('desk person true')")
    assert page.locator("li").count() == 2
    assert TOKEN not in page.content()


def test_from_an_origin_that_is_not_allowed_it_gets_nothing(
    page: Any, site: Any, answer: Any, background: Any
) -> None:
    site.locks = Locks(KEYRING)
    with background(site):
        with page.expect_event("websocket") as opened:
            follow(page, site, TOKEN)
        until(page, opened.value.is_closed)
        assert site.count("subscribers") == 0
    assert page.locator("li").count() == 0
