"""Webhooks that are added over the network: kept, guarded, recorded, and there again after a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamqa.capture.reach import Reach, reach_of
from streamqa.errors import ConfigError, NotAllowed, NotThere, StreamQAError, TakenId
from streamqa.hooks import Hooks, Place
from streamqa.metrics import Metrics
from streamqa.outlets import Outlets
from streamqa.service_settings import ReachConfig
from streamqa.sink_settings import JsonlConfig, WebhookConfig
from streamqa.sinks.base import Logged
from tests.receiver import Receiver, receiver
from tests.sinks.outlets import make_context

__all__ = ["receiver"]

SECRET = "a secret of 16 or more"
LOOPBACK = reach_of(ReachConfig(hosts=["127.0.0.1"]))
PUBLIC = Reach(frozenset(("http", "https")))


def settings(url: str, **more: Any) -> WebhookConfig:
    return WebhookConfig.model_validate({"webhook": url, **more})


class Site:
    """Hooks on a file, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a.db.webhooks.json"
        self.records: list[Any] = []
        self.metrics = Metrics()
        self.start()

    def start(self, reach: Reach = LOOPBACK, path: Path | None = None, **sinks: str) -> None:
        self.outlets = Outlets()
        context = make_context(self.metrics, reach=reach)
        self.outlets.open([JsonlConfig(jsonl=at, id=name) for name, at in sinks.items()], context)
        self.hooks = Hooks(Place(self.path, reach), self.outlets, context)
        self.hooks.attach(self.records.extend)

    def stop(self) -> None:
        self.outlets.close()

    def write(self, seq: int) -> None:
        self.outlets.write([Logged(seq, {"type": "alert", "seq": seq})])

    def changes(self) -> list[tuple[str, str, str, str]]:
        return [(one.what, one.id, one.action, one.by) for one in self.records]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.stop()


def test_a_webhook_from_its_beginning_to_its_end(site: Site, receiver: Receiver) -> None:
    assert site.hooks.put("far", settings(receiver.url("one")), "ann")
    assert not site.hooks.put("far", settings(receiver.url("one")), "ann")  # as it was: no change
    site.write(1)
    assert receiver.until(1)[0].path == "/one"
    assert not site.hooks.put("far", settings(receiver.url("two")), "bob")
    site.write(2)
    assert receiver.until(2)[1].path == "/two"
    site.hooks.remove("far", "cid")
    site.write(3)
    assert site.outlets.ids() == ()
    assert len(receiver.requests) == 2
    assert site.changes() == [
        ("webhook", "far", action, by)
        for action, by in (("added", "ann"), ("changed", "bob"), ("removed", "cid"))
    ]
    assert not site.path.exists()
    assert site.metrics.registry.get_sample_value("streamqa_sink_up", {"sink": "far"}) is None


def test_it_is_there_again_after_a_restart(site: Site, receiver: Receiver) -> None:
    site.hooks.put("far", settings(receiver.url("hunter2"), secret=SECRET, types=["alert"]), "ann")
    assert site.path.stat().st_mode & 0o777 == 0o600
    site.stop()
    site.start()
    site.write(1)
    (request,) = receiver.until(1)
    assert request.path == "/hunter2"
    assert "x-streamqa-signature" in request.headers


def test_secrets_are_never_shown(site: Site, receiver: Receiver) -> None:
    site.hooks.put("far", settings(receiver.url("hunter2?token=s3cret"), secret=SECRET), "ann")
    shown = json.dumps([site.hooks.describe(), [one.settings for one in site.records]])
    assert site.hooks.describe()[0]["settings"] == {
        "webhook": f"http://127.0.0.1:{receiver.port}/…", "secret": "***",
    }  # fmt: skip
    for word in ("hunter2", "s3cret", SECRET):
        assert word not in shown


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://[::1]/", "http://localhost/", "https://10.0.0.1/", "http://169.254.169.254/latest",
        "http://2130706433/", "http://0x7f.1/", "http://[::ffff:10.0.0.1]/", "https://a@b@127.0.0.1/",
    ],
)  # fmt: skip
def test_a_private_address_is_refused(tmp_path: Path, url: str) -> None:
    site = Site(tmp_path)
    site.stop()
    site.start(PUBLIC)
    with pytest.raises(NotAllowed, match=r"not a public one|write it plainly"):
        site.hooks.put("far", settings(url), "ann")
    assert (site.outlets.ids(), site.records, site.path.exists()) == ((), [], False)
    site.stop()


def test_what_is_wrong_is_refused(site: Site, receiver: Receiver, tmp_path: Path) -> None:
    site.stop()
    site.start(near=str(tmp_path / "near.jsonl"))
    with pytest.raises(TakenId, match="sink of the configuration"):
        site.hooks.put("near", settings(receiver.url()), "ann")
    with pytest.raises(ConfigError, match="leave it out"):
        site.hooks.put("far", settings(receiver.url(), id="other"), "ann")
    with pytest.raises(ConfigError, match="write it out"):
        site.hooks.put("far", settings(f"http://127.0.0.1:{receiver.port}/…"), "ann")
    with pytest.raises(NotThere, match="there are: none"):
        site.hooks.remove("near", "ann")
    assert site.records == []


@pytest.mark.parametrize(
    "url", ["https://hooks.example/hunter2\\x", "https://me:hunter2/x@hooks.example/", "https://me:hunter2"]
)
def test_an_address_that_is_refused_is_not_told_either(site: Site, url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        site.hooks.put("far", settings(url), "ann")
    assert "hunter2" not in str(refused.value)


def test_there_are_only_so_many(site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamqa.hooks.MOST_SINKS", 2)
    for name in ("a", "b"):
        site.hooks.put(name, settings(receiver.url()), "ann")
    with pytest.raises(ConfigError, match="remove one first"):
        site.hooks.put("c", settings(receiver.url()), "ann")
    site.hooks.put("b", settings(receiver.url("other")), "ann")  # in the place of one that is there


def test_what_cannot_be_kept_changes_nothing(site: Site, receiver: Receiver) -> None:
    site.hooks.put("far", settings(receiver.url("one")), "ann")
    site.hooks.put("too", settings(receiver.url("too"), types=["error"]), "ann")
    kept = site.path.read_text()
    (site.path.parent / f".{site.path.name}.new").mkdir()  # where the file would be written
    for change in (
        lambda: site.hooks.put("far", settings(receiver.url("two")), "ann"),
        lambda: site.hooks.put("new", settings(receiver.url("new")), "ann"),
        lambda: site.hooks.remove("far", "ann"),
    ):
        with pytest.raises((StreamQAError, OSError)):
            change()
    site.write(1)
    assert receiver.until(1)[0].path == "/one"
    assert site.outlets.ids() == ("far", "too")
    assert site.path.read_text() == kept
    assert [one["id"] for one in site.hooks.describe()] == ["far", "too"]
    assert len(site.records) == 2


def test_an_id_that_the_configuration_took_meanwhile(site: Site, receiver: Receiver, tmp_path: Path) -> None:
    site.hooks.put("far", settings(receiver.url()), "ann")
    site.stop()
    site.start(far=str(tmp_path / "far.jsonl"))
    assert site.hooks.notes == ["webhook far: a sink of the configuration has this id, which applies"]
    assert [state.kind for state in site.outlets.states()] == ["jsonl"]


@pytest.mark.parametrize(
    "text", ["{", '{"version": 2}', '{"webhooks": {"a": {"webhook": "ftp://hunter2@x"}}}']
)
def test_a_file_that_cannot_be_read(site: Site, text: str) -> None:
    site.path.write_text(text)
    with pytest.raises(ConfigError, match="mend the file, or move it away") as raised:
        site.start()
    assert "hunter2" not in str(raised.value)
