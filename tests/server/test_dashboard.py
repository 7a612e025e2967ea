"""The page in a real browser, while what is asked and watched changes, the model loads and the log is full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from streamqa.records import Change, Lost, Record
from streamqa.sinks.base import Logged
from streamqa.types import ModelInfo, Question, utc_now
from tests.sinks.records import alert

PATIENCE_MS = 10_000
PERSON = Question("person", "Is there a person?", "yes_no", 10**9)
CARS = Question("cars", "How many cars?", "number", 10**9, sources=("gate",))
MODEL = ModelInfo("fake", "1", "cpu", "float32", frozenset({"query"}), note="knows nothing")


@pytest.fixture
def questions() -> list[Question]:
    return [PERSON]


@pytest.fixture
def server(site: Any, questions: list[Question], background: Any) -> Iterator[Any]:
    made = site.context
    site.context = lambda: replace(made(), questions=lambda: tuple(questions))
    with background(site):
        yield site


@pytest.fixture
def page(browser: Any, server: Any) -> Iterator[Any]:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(
        "window.violations = [];"
        "addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective + e.blockedURI));"
        "addEventListener('error', (e) => violations.push(String(e.message)));"
        "addEventListener('unhandledrejection', (e) => violations.push(String(e.reason)));"
    )
    page = context.new_page()
    page.goto(f"{server.http}/")
    page.wait_for_selector("#connection[data-state=connected]")
    yield page
    assert page.evaluate("violations") == []
    context.close()


@pytest.fixture
def publish(server: Any) -> Callable[..., None]:
    loop = server.server._task.get_loop()
    return lambda *records: loop.call_soon_threadsafe(server.publish, *records)


def change(action: Any, name: str = "cars") -> Record:
    return Change("question", name, action, "me", utc_now(), None if action == "removed" else {"ask": "…"})


def test_questions_come_rest_and_go(
    page: Any, questions: list[Question], publish: Callable[..., None], answer: Any
) -> None:
    row = "#answers tr:has-text('cars')"
    assert page.locator(row).count() == 0
    assert page.locator("#answers tr").count() == 2  # one question of two sources

    questions.append(CARS)
    publish(change("added"))
    page.wait_for_selector(f"{row} >> text=How many cars?")
    publish(replace(answer(1, question="cars"), kind="number"))
    page.wait_for_selector(f"{row} .state[data-state=ok]")

    questions[1] = replace(CARS, is_paused=True)
    publish(change("paused"))
    page.wait_for_selector(f"{row} .state[data-state=paused]")
    questions[1] = replace(CARS, ask="How many red cars?")
    publish(change("changed"))
    page.wait_for_selector(f"{row} >> text=How many red cars?")

    del questions[1]
    publish(change("removed"))
    page.wait_for_selector(row, state="detached")
    publish(answer(2, question="cars"))  # was under way
    page.wait_for_selector("#changes >> text=cars removed")
    publish(answer(3))
    page.wait_for_selector("#answers td.value:has-text('yes')")
    assert page.locator(row).count() == 0


def test_what_the_past_says_of_questions_changes_nothing_now(
    page: Any, publish: Callable[..., None], answer: Any
) -> None:
    publish(answer(1, question="cars"), change("added"), change("removed"))
    page.wait_for_selector("#changes >> text=cars removed")
    page.reload()
    page.wait_for_selector("#changes >> text=cars added")
    assert page.locator("#answers tr").count() == 2


def test_a_full_log_is_told_once_and_what_was_not_kept_is_counted(
    page: Any, server: Any, publish: Callable[..., None], answer: Any
) -> None:
    from streamqa.payload import record_payload

    def unkept(n: int) -> Logged:
        return Logged(None, {**record_payload(answer(n)), "seq": None, "durable": False})

    loop = server.server._task.get_loop()
    loop.call_soon_threadsafe(server.server.broadcaster.publish, [unkept(1), unkept(2)])
    page.wait_for_selector("#answers td.value:has-text('yes')")
    page.wait_for_selector("#changes >> text=the log is full")
    publish(Lost(2, "log_full", utc_now()))
    page.wait_for_selector("#changes >> text=2 records were not kept")
    assert page.locator("#changes >> text=the log is full").count() == 1


def test_a_model_that_is_being_loaded(page: Any, server: Any) -> None:
    server.model = None
    page.reload()
    page.wait_for_selector("#model:has-text('being loaded')")
    server.model = MODEL
    page.wait_for_selector("#model:has-text('fake')")
    page.wait_for_selector("#note:has-text('knows nothing')")


def test_what_came_meanwhile_is_newer_than_what_the_log_answers(
    page: Any, publish: Callable[..., None]
) -> None:
    """The log is asked at each hello, and its answer may be late."""
    answers: list[Any] = []
    page.route("**/api/alerts", lambda route: answers.append(route))  # Playwright wants to mark it
    page.reload()
    page.wait_for_selector("#connection[data-state=connected]")
    publish(alert(1, alert_id="new"), alert(2, alert_id="over"))
    publish(alert(3, alert_id="over", phase="end", ended_ns=3 * 10**9))
    page.wait_for_selector("#changes >> text=alert over")
    (held,) = answers
    old = '{"alert_id": "over", "rule": "person", "source": "gate", "phase": "begin", "severity": "info"}'
    held.fulfill(body=f"[{old}]", content_type="application/json")
    page.wait_for_function("fetch('api/info').then(() => true)")
    assert page.locator("#alerts li").count() == 1
    assert page.locator("#alerts li[data-severity=warning]").count() == 1


def test_open_alerts_are_shown_until_they_end(page: Any, publish: Callable[..., None]) -> None:
    assert page.locator("#alerts").is_hidden()
    hostile = "<img src=x onerror=violations.push(1)>"
    publish(alert(1, alert_id="one"), alert(2, alert_id="two", rule=hostile, severity="critical", value=3))
    page.wait_for_selector("#alerts li:has-text('person') >> text=yes, 90 % sure")
    page.wait_for_selector("#alerts li[data-severity=critical] >> text=<img src=x")
    publish(alert(3, alert_id="one", phase="update", is_blind=True, reason="stalled: no frame for 5 s"))
    page.wait_for_selector("#alerts li:has-text('person') .state >> text=blind")
    page.wait_for_selector("#alerts >> text=stalled: no frame for 5 s")

    page.reload()  # what is open comes from the log
    page.wait_for_selector("#alerts li[data-severity=critical]")
    assert page.locator("#alerts li").count() == 2
    publish(alert(4, alert_id="two", phase="end", ended_ns=4 * 10**9))
    page.wait_for_selector("#alerts li[data-severity=critical]", state="detached")
    publish(alert(5, alert_id="one", phase="end", ended_ns=5 * 10**9))
    page.wait_for_selector("#alerts", state="hidden")
    assert page.locator("#changes >> text=alert over").count() == 2
