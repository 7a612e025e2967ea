"""Answers on stdout, everything else on stderr: the printing sinks of the command line."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any, TextIO

from streamqa.sinks.base import Logged

Write = Callable[[dict[str, Any]], None]

CSV_COLUMNS = (
    *("seq", "source", "question", "t_s", "captured_at", "kind", "value", "state", "reason", "confidence"),
    *("text", "frame", "skipped", "inactive", "reused", "changed", "model"),
)


class Format(StrEnum):
    """How answers are printed."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


def default_format(out: TextIO | None = None) -> Format:
    """A table for people, JSON lines for programs."""
    return Format.table if (out or sys.stdout).isatty() else Format.jsonl


def printable(text: str) -> str:
    """`text` on one line, without anything that could steer a terminal."""
    return "".join(c if c.isprintable() else " " if c in "\n\t" else "�" for c in text)


def writer_for(form: Format, out: TextIO) -> Write:
    """The function that prints one answer's object to `out`."""
    if form is Format.jsonl:
        # Only UTF-8 can carry every character; elsewhere JSON's own escapes do.
        escaped = (getattr(out, "encoding", None) or "utf-8").replace("-", "").lower() != "utf8"
        return lambda payload: print(json.dumps(payload, ensure_ascii=escaped), file=out)
    return _csv_writer(out) if form is Format.csv else _table_writer(out)


def _csv_writer(out: TextIO) -> Write:
    rows = csv.DictWriter(out, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()

    def write(payload: dict[str, Any]) -> None:
        value = payload["value"]
        plain = json.dumps(value) if isinstance(value, bool | list) else value
        rows.writerow(payload | {"value": _harmless(plain), "text": _harmless(payload["text"])})

    return write


def _harmless(value: Any) -> Any:
    """A cell that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _table_writer(out: TextIO) -> Write:
    print(f"{'time':>12}  {'source':<14} {'question':<14} {'answer':<28} sure", file=out)

    def write(payload: dict[str, Any]) -> None:
        confidence = payload["confidence"]
        sure = "" if confidence is None else f"{confidence:4.0%}"
        print(
            f"{_clock(payload):>12}  {printable(payload['source']):<14} {printable(payload['question']):<14} "
            f"{_answer(payload):<28} {sure}".rstrip(),
            file=out,
        )

    return write


def _clock(payload: dict[str, Any]) -> str:
    """The frame's own time: of day (UTC) where it was captured live, else within the recording."""
    if payload["captured_at"]:
        return str(payload["captured_at"])[11:23]
    minutes, seconds = divmod(payload["t_s"], 60)
    return f"{int(minutes):02d}:{seconds:06.3f}"


def _answer(payload: dict[str, Any]) -> str:
    if payload["state"] != "ok":
        return printable(f"[{payload['state']}] {payload['reason'] or ''}".rstrip())
    value = payload["value"]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{len(value)} found" if isinstance(value, list) else printable(str(value))


def alert_words(payload: dict[str, Any]) -> str:
    """An alert's record in one line for people."""
    what = {"begin": "ALERT", "update": "alert goes on", "end": "alert over"}[payload["phase"]]
    value = payload["value"]
    found = f"{len(value)} found" if isinstance(value, list) else str(value)
    said = {True: "yes", False: "no"}[value] if isinstance(value, bool) else found
    sure = payload["peak_confidence"]
    words = [
        f"{what} ({payload['severity']}): {payload['rule']} at {payload['source']}: {said}",
        "" if sure is None else f"{sure:.0%} sure",
        f"for {payload['duration_s']:.0f} s" if payload["duration_s"] >= 1 else "",
        f"blind, {payload['reason']}" if payload["blind"] else payload["reason"] or "",
    ]
    return ", ".join(filter(None, words))


class AnswerPrinter:
    """A sink that prints answers; without `every` only those whose value or state changed."""

    def __init__(self, form: Format, out: TextIO, *, every: bool) -> None:
        self._write, self._out, self._every = writer_for(form, out), out, every
        self.closed = False  # the reader of our output has gone
        self.answers = 0
        self.seconds: dict[str, float] = {}  # source -> stream time of its newest answer

    def write(self, records: Sequence[Logged]) -> None:
        """Print the answers among `records`."""
        try:
            for record in records:
                if record.payload["type"] == "answer" and not self.closed:
                    self._take(record.payload)
            self._out.flush()
        except BrokenPipeError:
            self.closed = True

    def close(self) -> None:
        """Nothing is held."""

    def _take(self, payload: dict[str, Any]) -> None:
        self.answers += 1
        self.seconds[payload["source"]] = payload["t_s"]
        if self._every or payload["changed"]:
            self._write(payload)


class StatusPrinter:
    """A sink that prints what happens to sources and to the line itself, for people, to stderr.

    Where stderr is gone (its terminal or its disk), nobody reads it: no reason to stop answering.
    """

    def __init__(self, out: TextIO, states: frozenset[str] | None = None) -> None:
        self._out, self._states = out, states

    def write(self, records: Sequence[Logged]) -> None:
        """Print the source states (of `states`, where given), the alerts and the errors among `records`."""
        for record in records:
            payload = record.payload
            if payload["type"] == "error":
                self._print(f"streamqa: {payload['message']}")
            elif payload["type"] == "alert":
                self._print(f"streamqa: {alert_words(payload)}")
            elif payload["type"] == "source" and (self._states is None or payload["state"] in self._states):
                reason = f": {payload['reason']}" if payload["reason"] else ""
                self._print(f"{payload['source']} is {payload['state']}{reason}")

    def close(self) -> None:
        """Nothing is held."""

    def _print(self, line: str) -> None:
        with suppress(OSError):
            print(printable(line), file=self._out)
