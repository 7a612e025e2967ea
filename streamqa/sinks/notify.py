"""Notifications of alerts to phones, mail and chats, by Apprise (`pip install 'streamqa[notify]'`).

Each phase of an alert is told at most once. Addresses of Apprise hold passwords and tokens: nothing of them is ever
told, nor what Apprise and its libraries log. What is sent is plain text: an answer may hold what somebody wrote on a
sign, so it is kept to one line of limited length, and services that take markup get it escaped by Apprise.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamqa.errors import ConfigError
from streamqa.sink_settings import NotifyConfig
from streamqa.sinks.base import Logged
from streamqa.sinks.evidence import number_of
from streamqa.sinks.outlet import Context, Ledger, QueuedOutlet, QueueSettings, Undelivered
from streamqa.sinks.wanted import Wanted
from streamqa.types import Question

if TYPE_CHECKING:
    from apprise import Apprise, NotifyType

SEVERITIES = ("info", "warning", "critical")

_QUEUE = QueueSettings(capacity=200, batch=1, patience_s=300.0)
_MOST_CHARACTERS = 300  # of an answer
_REMEMBERED = 4096  # phases that were told


def open_outlet(settings: NotifyConfig, id: str, context: Context) -> QueuedOutlet:
    """The outlet of a configuration's `notify` entry.

    Raises:
        ConfigError: Apprise is not installed, or does not know an address.
    """
    urls = [settings.notify] if isinstance(settings.notify, str) else settings.notify
    services = [_service(url, number, id) for number, url in enumerate(urls, 1)]
    wanted = Wanted(
        types=("alert",),
        sources=settings.sources,
        questions=settings.questions,
        phases=settings.phases,
        severities=SEVERITIES[SEVERITIES.index(settings.severity) :],
    )
    names = ", ".join(dict.fromkeys(service.name for service in services))
    picture = _picture_of(context.evidence) if settings.picture else lambda payload: None
    delivery = Notifications(services, picture, lambda: context.describe()[1])
    return QueuedOutlet(Ledger(id, "notify", names, context.metrics), wanted, delivery, _QUEUE)


class Service:
    """One address of Apprise."""

    def __init__(self, apprise: Apprise, name: str) -> None:
        """`name`: of the service, for people."""
        self.name = name
        self._apprise = apprise

    def take(self, title: str, body: str, kind: NotifyType, picture: Path | None) -> bool:
        """Whether it took the message; waits for it, some 10 s at most."""
        from apprise import NotifyFormat

        told = self._apprise.notify(
            body,
            title,
            kind,
            body_format=NotifyFormat.TEXT,
            attach=None if picture is None else str(picture),
            interpret_escapes=False,
        )
        return bool(told)


class Notifications:
    """A `Delivery` of alerts to some services. A service that took one does not get it again."""

    def __init__(
        self,
        services: Sequence[Service],
        picture: Callable[[Mapping[str, Any]], Path | None],
        questions: Callable[[], Sequence[Question]],
    ) -> None:
        self._services, self._picture, self._questions = services, picture, questions
        # Phases of alerts, and which services took them already.
        self._told: OrderedDict[tuple[str, str], set[int]] = OrderedDict()

    def deliver(self, records: Sequence[Logged]) -> None:
        """Tell each service of each alert."""
        for number, record in enumerate(records):
            failed = self._tell(record.payload)
            if failed:
                raise Undelivered(
                    f"{', '.join(failed)} did not take it; `apprise -vv ADDRESS` shows why", delivered=number
                )

    def close(self) -> None:
        """Nothing is held; a message on its way comes to its own end."""

    def _tell(self, payload: Mapping[str, Any]) -> list[str]:
        """The names of the services that did not take it."""
        phase = payload["alert_id"], payload["phase"]
        took = self._told.setdefault(phase, set())
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        ask = next((one.ask for one in self._questions() if one.id == payload["question"]), "")
        title, body = title_of(payload), body_of(payload, ask)
        kind, picture, failed = _kind(payload), self._picture(payload), []
        for number, service in enumerate(self._services):
            if number in took:
                continue
            # A service that takes no such picture shall not miss the words.
            if service.take(title, body, kind, picture) or (
                picture is not None and service.take(title, body, kind, None)
            ):
                took.add(number)
            else:
                failed.append(service.name)
        return failed


def title_of(alert: Mapping[str, Any]) -> str:
    """An alert in a few words: `gate: person`."""
    over = " is over" if alert["phase"] == "end" else ""
    return _plain(f"{alert['source']}: {alert['rule']}{over}")


def body_of(alert: Mapping[str, Any], ask: str) -> str:
    """What there is to know of an alert, in plain words; `ask`: its question, where it is known."""
    sure = "" if alert["confidence"] is None else f" ({alert['confidence']:.0%} sure)"
    lines = [f"{_plain(ask) or alert['question']} {_answer(alert['value'])}{sure}"]
    begin = _moment(alert["began_at"], alert["began_t_s"])
    if alert["phase"] == "end":
        end = _moment(alert["ended_at"], alert["ended_t_s"])
        lines.append(f"From {begin} to {end}, {_lasting(alert['duration_s'])}.")
    else:
        lines.append(f"Since {begin}.")
    if alert["reason"]:
        lines.append(_plain(alert["reason"]))
    if alert["blind"]:
        lines.append("Its source gives no pictures now, so nobody knows how it is.")
    return "\n".join(
        [*lines, f"Source: {alert['source']}. When: {_plain(alert['when'])}. {alert['severity']}."]
    )


def _answer(value: Any) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, list):
        return f"{len(value)} found"
    # A sign that says @everyone shall not ring the phones of a whole chat.
    return "Not known" if value is None else _plain(str(value)).replace("@", "@\u200b")


def _plain(text: str) -> str:
    """On one line, without what could steer a reader, and not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 1] + "…"


def _moment(at: str | None, t_s: float | None) -> str:
    """By this machine's wall clock, or within the recording."""
    if at is not None:
        return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    if t_s is None:
        return "an unknown time"
    minutes, seconds = divmod(int(t_s), 60)
    return f"{minutes:02d}:{seconds:02d} of the recording"


def _lasting(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    words = [f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if n]
    return " ".join(words) or "0 s"


def _kind(alert: Mapping[str, Any]) -> NotifyType:
    from apprise import NotifyType

    if alert["phase"] == "end":
        return NotifyType.SUCCESS
    return {"warning": NotifyType.WARNING, "critical": NotifyType.FAILURE}.get(
        alert["severity"], NotifyType.INFO
    )


def _picture_of(evidence: Callable[[int], Path | None]) -> Callable[[Mapping[str, Any]], Path | None]:
    """The picture that an alert names, where it is kept."""

    def find(alert: Mapping[str, Any]) -> Path | None:
        number = number_of(alert["evidence"])
        return None if number is None else evidence(number)

    return find


def _service(url: str, number: int, id: str) -> Service:
    try:
        from apprise import Apprise, AppriseAsset
    except ImportError:
        raise ConfigError(f"sink {id}: notify needs Apprise; pip install 'streamqa[notify]'") from None
    # Addresses are secrets; Apprise's own words, and those of what it uses, hold parts of them.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    for name in ("urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.ERROR)
    apprise = Apprise(asset=AppriseAsset(app_id="streamqa", app_desc="streamqa", async_mode=False))
    if not apprise.add(url) or len(apprise) != 1:
        scheme = re.match(r"[a-z0-9]+(?=://)", url, re.IGNORECASE)
        what = f"{scheme[0]}://…" if scheme else "an address without a scheme"
        raise ConfigError(
            f"sink {id}: notify: address {number} ({what}) is none that Apprise takes; "
            "see https://appriseit.com/services/"
        )
    return Service(apprise, str(apprise[0].service_name))
