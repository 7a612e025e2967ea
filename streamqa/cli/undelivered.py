"""`streamqa undelivered`: what webhooks did not take, and sending it again."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamqa.cli.output import printable
from streamqa.cli.serve import beside_log
from streamqa.errors import ConfigError, StreamQAError

if TYPE_CHECKING:
    from streamqa.config import Config
    from streamqa.sinks.letters import Letter, Letters
    from streamqa.sinks.webhook import Webhook

_PAGE = 500


def command(
    config: Annotated[Path, typer.Argument(help="The YAML configuration whose webhooks are meant")],
    replay: Annotated[
        bool, typer.Option("--replay", help="Send them again, with the same Idempotency-Key")
    ] = False,
    sink: Annotated[str | None, typer.Option(help="Only of the webhook with this id")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object on each line")] = False,
) -> None:
    """List what webhooks did not take, oldest first, or send it again; also while `streamqa run` runs."""
    from streamqa.config import load_config
    from streamqa.sinks.letters import Letters

    loaded = load_config(config)
    path = beside_log(loaded, "undelivered.db")
    if path is None:
        raise ConfigError("this log is in memory, so nothing is kept beside it; set log.path")
    with _told(path):
        letters = Letters(path)
        if replay:
            _replay(loaded, letters, sink, as_json)
        else:
            _list(letters, sink, as_json)


def _list(letters: Letters, sink: str | None, as_json: bool) -> None:
    for letter in _all(letters, sink):
        if as_json:
            print(json.dumps(_object(letter), ensure_ascii=False))
        else:
            print(
                printable(
                    f"{letter.given_up_at}  {letter.sink:<16} {letter.key:<28} {letter.reason}".rstrip()
                )
            )
    for name, (kept, dropped) in letters.counts().items():
        if sink in (None, name) and not as_json:
            lost = f"; {dropped} older ones were dropped for them" if dropped else ""
            print(f"streamqa: {name}: {kept} undelivered{lost}", file=sys.stderr)


def _replay(config: Config, letters: Letters, sink: str | None, as_json: bool) -> None:
    """Send them again, each webhook's in their order; one that does not answer costs the others nothing."""
    failed: list[str] = []
    for name, (kept, _) in letters.counts().items():
        if not kept or sink not in (None, name):
            continue
        webhook = _webhook(config, name)
        if webhook is None:
            failed.append(f"{name}: there is no webhook of this id any more, so its {kept} stay")
            continue
        with closing(webhook):
            sent, reason = _send(webhook, letters, name)
        left = letters.counts().get(name, (0, 0))[0]
        if as_json:
            print(json.dumps({"sink": name, "sent": sent, "left": left, "reason": reason or None}))
        else:
            print(f"{name}: {sent} sent, {left} left")
        if reason:
            failed.append(f"{name}: {reason}")
    if failed:
        raise StreamQAError("; ".join(failed))


def _send(webhook: Webhook, letters: Letters, name: str) -> tuple[int, str]:
    """How many it took, and why it did not take the rest, the newest reason; "": it took all."""
    from streamqa.sinks.outlet import Undelivered

    sent, reason = 0, ""
    for letter in _all(letters, name):
        try:
            webhook.send(letter.key, letter.body)
        except Undelivered as error:
            reason = str(error)
            if error.retry:  # it is not there: the others would not arrive either
                break
        else:
            letters.remove(letter)
            sent += 1
    return sent, reason


def _webhook(config: Config, name: str) -> Webhook | None:
    """The webhook of an id, of the configuration or added over the network; None: there is none."""
    from streamqa.capture.reach import reach_of
    from streamqa.hooks import read_hooks
    from streamqa.sink_settings import WebhookConfig, sink_ids
    from streamqa.sinks.webhook import Webhook

    for id, settings in zip(sink_ids(config.sinks), config.sinks, strict=True):
        if id == name:
            return Webhook(settings) if isinstance(settings, WebhookConfig) else None
    path = beside_log(config, "webhooks.json")
    added = read_hooks(path).get(name) if path is not None else None
    return None if added is None else Webhook(added, reach=reach_of(config.serve.add))


def _all(letters: Letters, sink: str | None) -> Iterator[Letter]:
    """Those that are there now, oldest first; they may be removed meanwhile."""
    after = 0
    while page := letters.read(sink, after, _PAGE):
        yield from page
        after = page[-1].number


def _object(letter: Letter) -> dict[str, object]:
    return {
        "sink": letter.sink,
        "key": letter.key,
        "given_up_at": letter.given_up_at,
        "reason": letter.reason,
        "record": json.loads(letter.body),
    }


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StreamQAError(f"{path} cannot be used: {error}; move it away to begin a new one") from None
