"""Webhooks: each record as a signed HTTP POST, tried again, and kept where it cannot be delivered.

What a receiver gets is one record as it is on the wire, in JSON, with these headers:

    Idempotency-Key: <epoch>:<seq>        the same at each attempt; what came twice has the same
    X-Streamqa-Timestamp: 1795314154      UNIX seconds of this attempt
    X-Streamqa-Signature: sha256=<hex>    where the webhook has a secret

To check that it comes from here, and is no old message sent once more, a receiver does this, with the body as sent:

    expected = "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    is_ours = hmac.compare_digest(expected, signature) and abs(time.time() - int(timestamp)) < 300

and answers 2xx within the timeout. After 408, 425, 429, 5xx, or no answer, the record is sent again: soon at first
(hiccups), then with growing pauses for five minutes (outages). Then, and at once after any other answer, it becomes a
dead letter (see `letters`), which `streamqa undelivered --replay` sends again. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
import stamina

from streamqa.capture.reach import Reach
from streamqa.capture.relay import Relay
from streamqa.capture.source import redact
from streamqa.errors import ConfigError, StreamQAError
from streamqa.sink_settings import WebhookConfig
from streamqa.sinks.base import Logged
from streamqa.sinks.letters import Letter, Letters
from streamqa.sinks.log import to_json
from streamqa.sinks.loop import LoopThread
from streamqa.sinks.outlet import Context, Ledger, QueuedOutlet, QueueSettings, Undelivered
from streamqa.sinks.wanted import Wanted
from streamqa.types import NS_PER_S, iso_ms, utc_now
from streamqa.version import __version__

_logger = logging.getLogger(__name__)

KEY, TIMESTAMP, SIGNATURE = "Idempotency-Key", "X-Streamqa-Timestamp", "X-Streamqa-Signature"
PATIENCE_S = 300.0

_QUEUE = QueueSettings(capacity=1000, batch=1, patience_s=PATIENCE_S)
_ATTEMPTS = 3  # at once, before it counts as an outage
_HICCUP_S = 5.0  # a receiver that wants a longer pause gets it from the outlet
_MOST_PAUSE_S = 300.0  # whatever it wants
_MOST_ANSWER_BYTES = 64 * 1024  # of its answer's body, which is thrown away
_AGAIN = (408, 425, 429)  # and 5xx
_KNOWN = frozenset(HTTPStatus)
_NOWHERE = Reach(frozenset(("http", "https")))


def open_outlet(settings: WebhookConfig, id: str, context: Context) -> QueuedOutlet:
    """The outlet of a configuration's `webhook` entry, which may lead anywhere.

    Raises:
        ConfigError: the address cannot be used.
    """
    return _outlet(settings, id, context, None)


def open_guarded(settings: WebhookConfig, id: str, context: Context) -> QueuedOutlet:
    """One that was added over the network: it reaches what `context.reach` allows, whatever names stand for later.

    Raises:
        ConfigError: the address cannot be used.
    """
    return _outlet(settings, id, context, context.reach or _NOWHERE)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the header `X-Streamqa-Signature` says; a receiver that knows the secret gets the same."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def key_of(record: Logged, epoch: str) -> str:
    """By which a receiver knows a record again. One without a number is known by what it says."""
    if record.seq is not None:
        return f"{epoch}:{record.seq}"
    return f"{epoch}:{hashlib.sha256(to_json(record.payload).encode()).hexdigest()[:16]}"


class Webhook:
    """A `Delivery` to one receiver; also sends single messages, for replay."""

    def __init__(self, settings: WebhookConfig, epoch: str = "", reach: Reach | None = None) -> None:
        """`reach`: only there, by a relay that looks at the address of each connection; None: anywhere.

        Raises:
            ConfigError: the address cannot be used.
        """
        self.target = shown(settings.webhook)
        self._url, self._secret, self._epoch = settings.webhook, settings.secret, epoch
        self._timeout_s = settings.timeout / NS_PER_S
        _keep_urls_out_of_logs()
        self._relay = None if reach is None else Relay(reach, self._timeout_s)
        self._client = httpx2.AsyncClient(
            headers={"User-Agent": f"streamqa/{__version__}", "Content-Type": "application/json"},
            timeout=self._timeout_s,
            follow_redirects=False,
            proxy=None if self._relay is None else self._relay.start(),
            cookies=_no_cookies(),
            trust_env=reach is None,  # of who runs this, and not for whoever adds webhooks to it
        )
        self._loop = LoopThread(f"webhook {self.target}")

    def deliver(self, records: Sequence[Logged]) -> None:
        """Send each by itself, with a few attempts."""
        for number, record in enumerate(records):
            try:
                self.send(key_of(record, self._epoch), to_json(record.payload))
            except Undelivered as error:
                error.delivered = number
                raise

    def send(self, key: str, body: str) -> None:
        """Send one message, with a few attempts.

        Raises:
            Undelivered: the receiver has not taken it.
        """
        try:
            self._loop.run(lambda: self._send(key, body.encode()))
        except CancelledError:
            raise Undelivered(f"{self.target}: cut off, since this program ends") from None

    def close(self) -> None:
        """Cut off what is under way."""
        self._loop.close(self._client.aclose)
        if self._relay is not None:
            self._relay.close()

    async def _send(self, key: str, body: bytes) -> None:
        async for attempt in stamina.retry_context(
            _is_hiccup, _ATTEMPTS, timeout=None, wait_initial=0.2, wait_max=2.0, wait_jitter=0.5
        ):
            with attempt:
                await self._post(key, body)

    async def _post(self, key: str, body: bytes) -> None:
        """One attempt."""
        timestamp = str(int(time.time()))
        headers = {KEY: key, TIMESTAMP: timestamp}
        if self._secret is not None:
            headers[SIGNATURE] = signature(self._secret, timestamp, body)
        if self._relay is not None:
            self._relay.refusal = ""
        try:
            async with (
                asyncio.timeout(self._timeout_s),  # the client's own timeout is for each byte
                self._client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                await _thrown_away(response)
        except (TimeoutError, httpx2.TimeoutException):
            raise _NoAnswer(f"{self.target}: no answer within {self._timeout_s:g} s") from None
        except httpx2.HTTPError as error:
            self._refuse_forbidden()
            raise Undelivered(f"{self.target}: {_words(error)}") from None
        self._refuse_forbidden()
        _refuse_unless_taken(response, self.target)

    def _refuse_forbidden(self) -> None:
        if self._relay is not None and self._relay.refusal:
            raise Undelivered(f"{self.target}: {self._relay.refusal}", retry=not self._relay.is_final)


class _NoAnswer(Undelivered):
    """It hangs: asking again at once would hang, too."""


def _outlet(settings: WebhookConfig, id: str, context: Context, reach: Reach | None) -> QueuedOutlet:
    wanted = Wanted(settings.types, settings.sources, settings.questions, settings.changed_only)
    try:
        webhook = Webhook(settings, context.epoch, reach)
    except ConfigError as error:
        raise ConfigError(f"sink {id}: {error}") from None
    ledger = Ledger(id, "webhook", webhook.target, context.metrics)
    letters = None if context.dead_letters is None else Letters(context.dead_letters)

    def keep(records: Sequence[Logged], reason: str) -> None:
        """Kept in a file; where the log is in memory there is none."""
        if letters is None:
            return
        at = iso_ms(utc_now()) or ""
        texts = [(key_of(one, context.epoch), to_json(one.payload)) for one in records]
        try:
            gone = letters.put([Letter(id, key, text, reason, at) for key, text in texts])
        except (sqlite3.Error, OSError) as error:
            raise StreamQAError(f"{letters.path}: {error}") from None
        if gone:
            _logger.warning("%s is full: the %d oldest dead letters are lost", letters.path, gone)

    return QueuedOutlet(ledger, wanted, webhook, _QUEUE, keep)


def shown(url: str) -> str:
    """Where a URL leads, without what may be secret in it: user, path and query.

    Raises:
        ConfigError: it is none.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:  # its own words may hold a part of it, a password with a / for one
        raise ConfigError(
            "webhook: the address is none; write https://host/path, with %2F for / inside of a password"
        ) from None
    if not parsed.host:
        raise ConfigError("webhook: the address has no host; write https://host/path")
    port = "" if parsed.port is None else f":{parsed.port}"
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    return f"{parsed.scheme}://{host}{port}/" + ("…" if len(parsed.raw_path) > 1 else "")


def _is_hiccup(error: Exception) -> bool | float:
    """Whether to try again at once, after the usual pause or after so long."""
    if not isinstance(error, Undelivered) or isinstance(error, _NoAnswer) or not error.retry:
        return False
    if error.after_s is None:
        return True
    return error.after_s if error.after_s <= _HICCUP_S else False


def _refuse_unless_taken(response: httpx2.Response, target: str) -> None:
    status = response.status_code
    if 200 <= status < 300:
        return
    phrase = HTTPStatus(status).phrase if status in _KNOWN else ""
    told = f"{target}: it answered {status} {phrase}".rstrip()
    if 300 <= status < 400:
        raise Undelivered(f"{told}; redirects are not followed", retry=False)
    if status not in _AGAIN and status < 500:
        raise Undelivered(told, retry=False)
    raise Undelivered(told, after_s=_after_s(response.headers.get("retry-after")))


def _after_s(header: str | None) -> float | None:
    """What `Retry-After` asks for, in seconds or as a date, within bounds."""
    if header is None:
        return None
    try:
        wanted = float(header) if header.strip().isdecimal() else _until_s(header)
    except (ValueError, OverflowError):
        return None
    return min(max(wanted, 0.0), _MOST_PAUSE_S)


def _until_s(date: str) -> float:
    moment = parsedate_to_datetime(date)
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()


def _no_cookies() -> CookieJar:
    """A jar that takes none: what receivers set would be kept for ever, and go back with each message."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


async def _thrown_away(response: httpx2.Response) -> None:
    """Read an answer's body, so that the connection can be used again, but not all of an endless one."""
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > _MOST_ANSWER_BYTES:
            return


def _words(error: Exception) -> str:
    words = redact(" ".join(str(error).split()))[:200]
    return words or type(error).__name__


def _keep_urls_out_of_logs() -> None:
    """Addresses of webhooks are secrets, and these libraries log them, and warn of each attempt."""
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("stamina").setLevel(logging.ERROR)
