"""Webhooks that are added over the network: checked, kept beside the log, recorded, and opened again at each start.

They reach public addresses and those of `serve.add.hosts` only: their address is checked when they are added, and
again at each connection, whatever a name stands for then.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from streamqa.capture.reach import Reach
from streamqa.capture.resolve import check_url
from streamqa.errors import Busy, ConfigError, NotThere, StreamQAError, TakenId
from streamqa.outlets import Outlets
from streamqa.records import Change, Record
from streamqa.replacing import reading_kept, replacing
from streamqa.settings import Id, Strict
from streamqa.sink_settings import MOST_SINKS, WebhookConfig
from streamqa.sinks.outlet import Context, Outlet
from streamqa.types import utc_now

_logger = logging.getLogger(__name__)

_TURN_S = 10.0
_HIDDEN = "***"


class HooksFile(Strict):
    """The file beside the log; for its owner only, since addresses of webhooks are secrets."""

    version: Literal[1] = 1
    webhooks: dict[Id, WebhookConfig] = Field(default={}, max_length=MOST_SINKS)


@dataclass(frozen=True, slots=True)
class Place:
    """Where webhooks are kept, and where they may lead."""

    path: Path | None  # None: they end with the process
    reach: Reach


class Hooks:
    """`server.context.Webhooks` over a running line. Thread-safe; a call may take some seconds."""

    def __init__(self, place: Place, outlets: Outlets, context: Context) -> None:
        """Opens those that are kept; one whose id a sink of the configuration has by now is left out, which is told.

        Raises:
            ConfigError: the file cannot be read; the message says what to do.
        """
        self._place, self._outlets, self._context = place, outlets, context
        self._changing = threading.Lock()  # one change at a time, so that outlets, file and records agree
        self._record: Callable[[Sequence[Record]], None] = lambda records: None
        self._configured = frozenset(outlets.ids())
        self._hooks: dict[str, WebhookConfig] = {}
        self.notes: list[str] = []
        for name, settings in (read_hooks(place.path) if place.path else {}).items():
            if name in self._configured:
                self.notes.append(f"webhook {name}: a sink of the configuration has this id, which applies")
                continue
            self._hooks[name] = settings
            outlets.put(name, self._opened(name, settings))

    def attach(self, record: Callable[[Sequence[Record]], None]) -> None:
        """Changes are recorded from now on."""
        self._record = record

    def describe(self) -> list[dict[str, Any]]:
        """All of them, JSON-ready, without secrets."""
        return [{"id": name, "settings": public(settings)} for name, settings in self._hooks.items()]

    def put(self, name: str, settings: WebhookConfig, by: str) -> bool:
        """Send records there from now on; True: it is new, False: it took the place of the one with this id.

        Raises:
            NotAllowed: it leads to where it may not.
            TakenId: a sink of the configuration has this id.
            ConfigError: its settings are wrong, or there are too many.
            StreamQAError: it cannot be kept, so nothing has changed.
        """
        with self._turn():
            self._check(name, settings)
            before = self._hooks.get(name)
            if before == settings:
                return False
            self._replace(name, settings)
            self._tell(Change("webhook", name, _action(before), by, utc_now(), public(settings)))
        return before is None

    def remove(self, name: str, by: str) -> None:
        """Send nothing there any more; what was given up for it stays.

        Raises:
            NotThere: there is none of that name.
            StreamQAError: it cannot be kept, so nothing has changed.
        """
        with self._turn():
            if name not in self._hooks:
                there = ", ".join(list(self._hooks)[:20]) or "none"
                raise NotThere(f"webhook {name!r}: there is none that was added here; there are: {there}")
            self._save({key: item for key, item in self._hooks.items() if key != name})
            outlet = self._outlets.take(name)
            if outlet is not None:
                outlet.close()
            self._context.metrics.forget_sink(name)
            self._tell(Change("webhook", name, "removed", by, utc_now()))

    def _check(self, name: str, settings: WebhookConfig) -> None:
        if name in self._configured:
            raise TakenId(f"webhook {name!r}: a sink of the configuration has this id; take another one")
        if settings.id not in (None, name):
            raise ConfigError(f"webhook {name!r}: id: {settings.id!r}: leave it out, it is in the path")
        if name not in self._hooks and len(self._outlets.ids()) >= MOST_SINKS:
            raise ConfigError(f"webhook {name!r}: there are {MOST_SINKS} sinks already; remove one first")
        if settings.webhook.endswith("/…"):
            raise ConfigError(f"webhook {name!r}: … stands for an address that is never told; write it out")
        check_url(self._place.reach, settings.webhook, f"webhook {name!r}")

    def _opened(self, name: str, settings: WebhookConfig) -> Outlet:
        from streamqa.sinks.webhook import open_guarded

        return open_guarded(settings, name, self._outlets.context_of(name, self._context))

    def _replace(self, name: str, settings: WebhookConfig) -> None:
        """Open it and keep it, or leave all as it was."""
        new = self._opened(name, settings)
        old = self._outlets.put(name, new)
        try:
            self._save({**self._hooks, name: settings})
        except BaseException:
            if old is None:
                self._outlets.take(name)
            else:
                self._outlets.put(name, old)
            new.close()
            raise
        if old is not None:
            old.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._changing.acquire(timeout=_TURN_S):
            raise Busy(f"another webhook is being changed for more than {_TURN_S:g} s; try again")
        try:
            yield
        finally:
            self._changing.release()

    def _save(self, hooks: dict[str, WebhookConfig]) -> None:
        path = self._place.path
        with nullcontext() if path is None else replacing(path, _text(hooks)):
            pass
        self._hooks = hooks

    def _tell(self, change: Change) -> None:
        try:
            self._record([change])
        except StreamQAError as error:  # the log has failed, which ends the line; the change itself stands
            _logger.warning(
                "webhook %s %s by %s is not recorded: %s", change.id, change.action, change.by, error
            )


def read_hooks(path: Path) -> Mapping[str, WebhookConfig]:
    """The webhooks that are kept in a file; none where there is no such file.

    Raises:
        ConfigError: it cannot be read.
    """
    with reading_kept(path, "these webhooks", "start without them") as data:
        return {} if data is None else HooksFile.model_validate_json(data).webhooks


def public(settings: WebhookConfig) -> dict[str, Any]:
    """Settings as given, without what is secret in them."""
    from streamqa.sinks.webhook import shown

    given = {**settings.given(), "webhook": shown(settings.webhook)}
    return {**given, "secret": _HIDDEN} if given.get("secret") is not None else given


def _action(before: WebhookConfig | None) -> Literal["added", "changed"]:
    return "added" if before is None else "changed"


def _text(hooks: Mapping[str, WebhookConfig]) -> bytes | None:
    """As it stands in the file; None: there is nothing to keep."""
    if not hooks:
        return None
    file = {"version": 1, "webhooks": {name: settings.given() for name, settings in hooks.items()}}
    return (json.dumps(file, indent=2, ensure_ascii=False) + "\n").encode()
