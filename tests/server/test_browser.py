"""A real browser before a server that is bound to a public address: nothing without a token, answers with one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from streamqa.server.auth import Keyring
from streamqa.server.locks import Locks
from streamqa.service_settings import TokenConfig
from streamqa.sinks.log import AnswerLog

TOKEN = "admin-token-0123456789"
PATIENCE_MS = 10_000
# What is asked and what was answered: no stranger may see any of it.
SECRETS = ("Is there a person?", "epoch", "knows nothing", "gate", "person")
PATHS = (
    "api/info", "api/records", "api/visitor", "metrics", "openapi.json", "asyncapi.json", "events", "frames/1.jpg",
    "sources/gate/latest.jpg", "static/app.js", "static/index.html", "api/questions", "api/sources",
)  # fmt: skip

# Everything a page can do to get at data of the server at `base`; what it got, by how.
PROBE = """
async ([base, paths, credentials]) => {
  const got = {};
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  for (const path of paths) {
    try {
      const response = await fetch(base + path, { credentials });
      const endless = path === "events" && response.ok; // what it begins with is enough
      const text = endless ? "events" : await response.text();
      if (endless) await response.body.cancel();
      got["fetch " + path] = response.ok ? text : response.status;
    } catch (error) { got["fetch " + path] = "error"; }
  }
  for (const [path, body] of [["api/questions", "{}"], ["v1/chat/completions", "{}"]]) {
    try {
      const response = await fetch(base + path, { credentials, method: "POST", body });
      got["post " + path] = response.status;
    } catch (error) { got["post " + path] = "error"; }
  }
  for (const protocols of [[], ["streamqa"], ["streamqa", "bearer.wrong-token-0123456789"]]) {
    got["ws " + protocols] = await new Promise((done) => {
      const socket = new WebSocket(base.replace("http", "ws") + "ws", protocols);
      socket.onmessage = (event) => done(event.data);
      socket.onopen = () => socket.send('{"type":"subscribe","since":0}');
      socket.onclose = () => done("error");
    });
  }
  got["events"] = await new Promise((done) => {
    const source = new EventSource(base + "events", { withCredentials: credentials === "include" });
    source.onopen = () => { source.close(); done("open"); };
    source.onmessage = (event) => { source.close(); done(event.data); };
    source.onerror = () => { source.close(); done("error"); };
  });
  for (const path of ["sources/gate/latest.jpg", "frames/1.jpg"]) {
    got["img " + path] = await new Promise((done) => {
      const image = new Image();
      image.onload = () => done("a picture");
      image.onerror = () => done("error");
      image.src = base + path;
    });
  }
  return got;
}
"""


@pytest.fixture
def server(site: Any, answer: Any, background: Any) -> Iterator[Any]:
    site.host = "0.0.0.0"
    site.locks = Locks(Keyring((TokenConfig(name="me", scope="admin", token=TOKEN),)))
    site.images["gate"] = np.full((36, 64, 3), 200, np.uint8)
    with closing(AnswerLog(site.path)) as log:
        log.append([answer(1)])
    with background(site):
        yield site


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(
        "window.violations = [];"
        "addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective + e.blockedURI))"
    )
    yield context.new_page()
    context.close()


def logged_in(page: Any, server: Any) -> None:
    page.goto(f"{server.http}/")
    page.fill("#token", TOKEN)
    page.press("#token", "Enter")
    page.wait_for_selector("#answers")


def assert_nothing(got: dict[str, Any]) -> None:
    assert len(got) > 20
    opened = {how: what for how, what in got.items() if what not in ("error", 401, 403)}
    assert opened == {}


def test_a_browser_without_a_token_gets_nothing_but_the_login_page(page: Any, server: Any) -> None:
    response = page.goto(f"{server.http}/")
    assert response.status == 401
    assert page.locator("#login").is_visible()
    shown = page.content() + response.text()
    assert [secret for secret in SECRETS if secret in shown] == []
    assert_nothing(page.evaluate(PROBE, [f"{server.http}/", PATHS, "include"]))
    assert page.evaluate("violations") == []
    for path in ("api/info", "sources/gate/latest.jpg", "static/app.js"):
        assert page.goto(f"{server.http}/{path}").status == 401


def test_a_wrong_token_changes_nothing(page: Any, server: Any) -> None:
    page.goto(f"{server.http}/")
    page.fill("#token", "wrong-token-0123456789")
    page.click("button")
    page.wait_for_selector("#note:not([hidden])")
    assert page.inner_text("#note") == "no such token"
    assert page.input_value("#token") == ""
    assert page.context.cookies() == []
    assert_nothing(page.evaluate(PROBE, [f"{server.http}/", PATHS, "include"]))
    assert page.evaluate("violations") == []


def test_after_login_it_sees_answers_until_it_logs_out(page: Any, server: Any) -> None:
    logged_in(page, server)
    page.wait_for_selector("text=Is there a person?")
    page.wait_for_selector("#answers td.value:has-text('yes')")
    page.wait_for_selector("#connection[data-state=connected]")
    page.wait_for_selector("figure:not(.without) img[src]")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    kept = page.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage}) + location")
    assert TOKEN not in kept + cookie["value"]
    assert cookie["value"] not in kept
    assert page.evaluate("violations") == []
    got = page.evaluate(
        PROBE, [f"{server.http}/", PATHS, "include"]
    )  # all of it would work for those who may
    assert "epoch" in got["fetch api/info"]
    assert "epoch" in got["ws streamqa"]
    assert got["img sources/gate/latest.jpg"] == "a picture"
    page.click("#logout")
    page.wait_for_selector("#login")
    assert_nothing(page.evaluate(PROBE, [f"{server.http}/", PATHS, "include"]))


class Elsewhere(BaseHTTPRequestHandler):
    """A page of another origin, without any policy of its own."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost"]
)  # the first is the same site: the cookie comes along
def test_a_page_of_another_origin_gets_nothing_from_a_browser_that_is_logged_in(
    page: Any, server: Any, elsewhere: int, host: str
) -> None:
    logged_in(page, server)
    page.goto(f"http://{host}:{elsewhere}/")
    assert_nothing(page.evaluate(PROBE, [f"{server.http}/", PATHS, "include"]))
    # A form needs no leave to be sent: what it does is refused.
    with page.expect_response(lambda response: response.url.endswith("/logout")) as refused:
        page.evaluate(
            """(base) => {
              const frame = document.createElement("iframe");
              frame.name = "frame";
              document.body.append(frame);
              const form = document.createElement("form");
              Object.assign(form, { action: base + "logout", method: "post", target: "frame" });
              document.body.append(form);
              form.submit();
            }""",
            f"{server.http}/",
        )
    assert refused.value.status == 403
    page.goto(f"{server.http}/")
    page.wait_for_selector("#answers")  # still logged in: the other page's form was refused


def test_without_tokens_a_page_of_another_origin_gets_nothing_either(
    page: Any, site: Any, answer: Any, background: Any, elsewhere: int
) -> None:
    with closing(AnswerLog(site.path)) as log:
        log.append([answer(1)])
    with background(site):
        page.goto(f"{site.http}/")
        page.wait_for_selector("#answers td.value:has-text('yes')")
        assert page.locator("#logout").is_hidden()
        assert page.evaluate("violations") == []
        page.goto(f"http://127.0.0.1:{elsewhere}/")
        assert_nothing(page.evaluate(PROBE, [f"{site.http}/", PATHS, "include"]))
