"""Sinks of a real `streamqa run`: every record as it is in the log, whatever becomes of the receivers."""

from __future__ import annotations

import json
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streamqa.sinks.letters import Letters
from streamqa.sinks.log import AnswerLog
from tests.cli.process import until
from tests.cli.test_changes import Run
from tests.receiver import Receiver, free_port, receiver, receiving

__all__ = ["receiver"]

CONFIG = """\
model: tiny
sources: {gate: scene:gate}
questions:
  person: {ask: "Is there a person?", kind: yes_no, every: 200ms}
log: {path: a.db}
serve: {add: {hosts: [127.0.0.1]}}
sinks:
  - jsonl: all.jsonl
  - {webhook: "http://127.0.0.1:DEAD/hunter2", types: [answer, source], changed_only: false, id: dead}
"""


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def sink(run: Run, name: str) -> dict[str, Any]:
    found = {one["id"]: one for one in run.http.get("/api/sinks").json()["sinks"]}
    return found[name]


def test_a_run_with_sinks(tmp_path: Path, receiver: Receiver) -> None:
    dead = free_port()
    (tmp_path / "c.yaml").write_text(CONFIG.replace("DEAD", str(dead)))
    run = Run(tmp_path)
    try:
        until(lambda: sink(run, "dead")["up"] is False)
        assert sink(run, "dead")["target"] == f"http://127.0.0.1:{dead}/…"
        assert run.http.get("/readyz").status_code == 200
        body = {"webhook": receiver.url(), "types": ["answer"], "changed_only": False}
        assert run.http.put("/api/webhooks/far", json=body).status_code == 201
        receiver.until(3)
        assert run.http.put("/api/webhooks/far", json={"webhook": "http://10.0.0.1/"}).status_code == 403
        with receiving(port=dead) as back:  # the outage is over
            back.until(5)
            assert sink(run, "dead")["up"]
            assert sink(run, "dead")["dropped"] == 0
        until(lambda: sink(run, "dead")["up"] is False, 30)
        run.process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        assert run.process.wait(20) == 0
        assert time.monotonic() - began_s < 8
    finally:
        run.end()
    with closing(AnswerLog(tmp_path / "a.db")) as log:
        texts = dict(log.page(0, 10**6).rows)
        epoch = log.epoch
    assert (tmp_path / "all.jsonl").read_text().splitlines() == list(texts.values())
    kinds = {seq: json.loads(text)["type"] for seq, text in texts.items()}
    due = {f"{epoch}:{seq}" for seq, kind in kinds.items() if kind in ("answer", "source")}
    came = {request.headers["idempotency-key"] for request in back.requests}
    letters = {letter.key for letter in Letters(tmp_path / "a.db.undelivered.db").read(limit=10**6)}
    assert came | letters == due  # nothing is lost: it came, or it can be sent again
    for request in receiver.requests:
        assert request.body.decode() == texts[request.json["seq"]]


@pytest.mark.slow
def test_an_added_webhook_outlives_its_process(tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG.partition("sinks:")[0])
    run = Run(tmp_path)
    body = {"webhook": receiver.url("hunter2"), "types": ["answer"], "changed_only": False}
    try:
        assert run.http.put("/api/webhooks/far", json=body).status_code == 201
    finally:
        run.end()
    before = len(receiver.requests)
    run = Run(tmp_path)
    try:
        receiver.until(before + 3)
        (one,) = run.http.get("/api/webhooks").json()["webhooks"]
        assert one["settings"]["webhook"] == f"http://127.0.0.1:{receiver.port}/…"
        (change,) = run.http.get("/api/records?type=change").json()["records"]
        assert (change["what"], change["id"], change["action"], change["by"]) == (
            "webhook",
            "far",
            "added",
            "local",
        )
        assert "hunter2" not in json.dumps(change)
    finally:
        run.end()
