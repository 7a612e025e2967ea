import csv
import io
import json
from typing import Any

import pytest

from streamqa.cli.output import AnswerPrinter, Format, StatusPrinter, default_format, printable, writer_for
from streamqa.sinks.base import Logged

ANSWER: dict[str, Any] = {
    "type": "answer",
    "seq": 1,
    "source": "gate",
    "question": "person",
    "kind": "yes_no",
    "value": True,
    "text": "Yes",
    "confidence": 0.934,
    "state": "ok",
    "reason": None,
    "frame": 3,
    "t_s": 61.25,
    "captured_at": None,
    "skipped": 0,
    "inactive": 7,
    "reused": False,
    "changed": True,
    "model": "tiny@1",
}


def printed(form: Format, *changes: dict[str, Any]) -> str:
    out = io.StringIO()
    write = writer_for(form, out)
    for change in changes:
        write(ANSWER | change)
    return out.getvalue()


def test_json_lines_are_the_very_object() -> None:
    assert json.loads(printed(Format.jsonl, {"text": "día\nnoche"})) == ANSWER | {"text": "día\nnoche"}


def test_a_table_row_says_when_what_and_how_sure() -> None:
    row = printed(Format.table, {}).splitlines()[1]
    assert row.split() == ["01:01.250", "gate", "person", "yes", "93%"]


def test_unsure_and_error_are_never_a_no() -> None:
    rows = printed(
        Format.table,
        {"value": None, "state": "unsure", "reason": "off_list", "confidence": None},
        {"value": None, "state": "error", "reason": "out of memory", "confidence": None},
        {"value": False},
    ).splitlines()[1:]
    assert "[unsure] off_list" in rows[0]
    assert "[error] out of memory" in rows[1]
    assert [" no " in row for row in rows] == [False, False, True]


def test_live_answers_show_the_time_of_day_of_the_frame() -> None:
    assert "02:22:34.120" in printed(Format.table, {"captured_at": "2026-11-22T02:22:34.120Z"})


def test_csv_reads_back_and_cannot_become_a_formula() -> None:
    rows = list(
        csv.DictReader(io.StringIO(printed(Format.csv, {}, {"value": "=cmd()", "text": '=1+1,"x"\n'})))
    )
    assert rows[0]["value"] == "true"
    assert rows[0]["t_s"] == "61.25"
    assert rows[0]["inactive"] == "7"
    assert rows[1]["value"] == "'=cmd()"
    assert rows[1]["text"] == '\'=1+1,"x"\n'


def test_a_text_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31mred\x07\r\nb\u202e") == "a�[31mred�� b�"
    assert "\x1b" not in printed(Format.table, {"value": "\x1b[2J", "source": "\x1b]0;x"})


def test_points_are_counted() -> None:
    assert "2 found" in printed(Format.table, {"value": [{"x": 0.1, "y": 0.2}, {"x": 0.3, "y": 0.4}]})


def records(*changed: bool) -> list[Logged]:
    return [Logged(n, ANSWER | {"seq": n, "t_s": float(n), "changed": c}) for n, c in enumerate(changed, 1)]


@pytest.mark.parametrize(("every", "shown"), [(False, [1, 3]), (True, [1, 2, 3])])
def test_the_printer_shows_changes_or_everything_and_counts_all(every: bool, shown: list[int]) -> None:
    out = io.StringIO()
    printer = AnswerPrinter(Format.jsonl, out, every=every)
    printer.write(records(True, False, True))
    printer.write([Logged(4, {"type": "source", "source": "gate"})])
    assert [json.loads(line)["seq"] for line in out.getvalue().splitlines()] == shown
    assert (printer.answers, printer.seconds) == (3, {"gate": 3.0})


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_an_output_that_nobody_reads_closes_the_printer_once() -> None:
    printer = AnswerPrinter(Format.jsonl, Closed(), every=True)
    printer.write(records(True, True))
    assert printer.closed
    printer.write(records(True))
    printer.close()


def test_status_lines_name_the_source_the_state_and_the_reason() -> None:
    out = io.StringIO()
    status = {"type": "source", "source": "gate", "state": "refused", "reason": "wrong password"}
    printer = StatusPrinter(out, frozenset({"refused"}))
    printer.write([Logged(1, status), Logged(2, status | {"state": "live"}), *records(True)])
    printer.close()
    assert out.getvalue() == "gate is refused: wrong password\n"


def test_what_befalls_the_line_itself_is_always_told() -> None:
    out = io.StringIO()
    fault = {"type": "error", "code": "model_worker", "message": "the model's process died\x1b[2J"}
    StatusPrinter(out, frozenset()).write([Logged(1, fault)])
    assert out.getvalue() == "streamqa: the model's process died�[2J\n"


ALERT = {
    "type": "alert", "phase": "update", "severity": "critical", "rule": "cars", "source": "gate", "value": 4,
    "peak_confidence": None, "duration_s": 0.2, "blind": True, "reason": "stalled: no frame for 5 s",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "alert goes on (critical): cars at gate: 4, blind, stalled: no frame for 5 s"),
        (
            {"phase": "end", "blind": False, "reason": "source ended", "value": [{}, {}]},
            "alert over (critical): cars at gate: 2 found, source ended",
        ),
        (
            {"phase": "begin", "blind": False, "reason": None, "value": "\x1b[2J"},
            "ALERT (critical): cars at gate: �[2J",
        ),
    ],
)
def test_alerts_are_told_in_a_line(changes: dict[str, Any], line: str) -> None:
    out = io.StringIO()
    StatusPrinter(out, frozenset()).write([Logged(1, ALERT | changes)])
    assert out.getvalue() == f"streamqa: {line}\n"


def test_programs_get_json_lines() -> None:
    assert default_format(io.StringIO()) is Format.jsonl


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError("no space left on device")


def test_nobody_reading_the_status_is_no_reason_to_stop() -> None:
    payload = {"type": "source", "source": "gate", "state": "live", "reason": None}
    StatusPrinter(Gone()).write([Logged(1, payload)])


def test_json_stays_json_where_the_output_is_not_utf_8() -> None:
    out = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii", errors="backslashreplace")
    writer_for(Format.jsonl, out)({"text": "grün"})
    out.flush()
    assert json.loads(raw.getvalue()) == {"text": "grün"}
