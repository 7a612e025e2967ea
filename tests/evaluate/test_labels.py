from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.errors import ConfigError, SourceError
from streamqa.evaluate import labels
from streamqa.evaluate.labels import Known, Label, labels_text, parse_labels, parse_time
from streamqa.types import NS_PER_S, Question


def question(name: str, kind: str, **fields: object) -> Question:
    return Question(id=name, ask="?", kind=kind, every_ns=NS_PER_S, **fields)  # type: ignore[arg-type]


KNOWN = Known(
    {
        one.id: one
        for one in (
            question("person", "yes_no"),
            question("gate", "choice", choices=("wide open", "closed")),
            question("cars", "number", max=4),
            question("says", "text"),
            question("where", "points"),
        )
    }
)
HEAD = "source,from,to,question,value\n"


def read(rows: str, known: Known = KNOWN) -> tuple[Label, ...]:
    return parse_labels((HEAD + rows).encode(), "l.csv", known)


def told(text: str | bytes, known: Known = KNOWN, error: type[Exception] = ConfigError) -> list[str]:
    with pytest.raises(error) as caught:
        parse_labels(text if isinstance(text, bytes) else text.encode(), "l.csv", known)
    assert type(caught.value) is error
    return str(caught.value).splitlines()


def test_each_kind_is_written_as_its_answers_are() -> None:
    found = read(
        "a.mp4,0,1:02.5,person,YES\na.mp4,1,2,gate,Wide  Open\n"
        'a.mp4, 1 ,01:00:00 , cars,4\n\n"b, c.mp4",0,0.25,says,"a ""dog"", here"\n'
    )
    assert found == (
        Label("a.mp4", 0, 62_500_000_000, "person", True, 2),
        Label("a.mp4", 10**9, 2 * 10**9, "gate", "wide open", 3),
        Label("a.mp4", 10**9, 3600 * 10**9, "cars", 4, 4),
        Label("b, c.mp4", 0, 250_000_000, "says", 'a "dog", here', 6),
    )


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_spreadsheets_write_is_read(line_end: str, mark: bytes) -> None:
    text = mark + (HEAD + "a,0,1,person,no\n").replace("\n", line_end).encode()
    assert parse_labels(text, "l.csv", KNOWN) == (Label("a", 0, 10**9, "person", False, 2),)


def test_all_mistakes_are_told_at_once_with_line_and_column() -> None:
    assert told(
        HEAD + "a,0,5,persno,yes\na,5,0:05,person,yes\na,0,5,person,maybe\na,x,1:75,cars,5\n"
        "a,0,1,gate,ajar\na,0,1,where,none\na,0,1,says,\na,0\n" + 'a,0,1,says,"x\n'
    ) == [
        "l.csv:2:7: there is no question 'persno'; did you mean 'person'?",
        "l.csv:3:5: ends at 0:05, which is not after 5; a label goes from a time to a later one",
        "l.csv:4:14: 'maybe' is no answer to a yes_no question; write yes or no",
        "l.csv:5:3: 'x' is no time; write seconds such as 12.5, or [hh:]mm:ss",
        "l.csv:5:5: '1:75' is no time: after a colon comes a number below 60",
        "l.csv:5:15: '5' is none of 0…4, which the question knows; write one, or set max",
        "l.csv:6:12: 'ajar' is none of the choices; there are wide open, closed",
        "l.csv:7:13: points cannot be labelled here; there are yes_no, choice, number, text, caption",
        "l.csv:8:12: empty; write the exact answer",
        "l.csv:9:1: 2 columns; there are 5: source,from,to,question,value",
        'l.csv:10:1: a " that does not end its field on this line; write " inside of one as ""',
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "1:1: empty; the first line is source,from,to,question,value"),
        (HEAD, "2:1: no label; write at least one line below the first"),
        (HEAD + "\n , \n", "3:1: 2 columns"),
        ("source;from;to;question;value\n", "1:1: the columns must stand apart by commas"),
        ("from,to,source,question,value\na,0,1,person,yes\n", "1:1: the first line names the columns"),
        (b"\xff\xfes\x00", "1:1: not UTF-8 text (byte 0); save it as CSV in UTF-8"),
        (HEAD.encode() + b"a,0,1,person,\xe9\n", "2:1: not UTF-8 text"),
        (HEAD + "a,-1,1,person,yes\n", "2:3: '-1' is no time"),
        (HEAD + "a,0,nan,person,yes\n", "2:5: 'nan' is no time"),
        (HEAD + "a,0,999999999,person,yes\n", "2:5: '999999999' is more than a year"),
    ],
)  # fmt: skip
def test_files_that_are_no_labels_say_what_to_write(text: str | bytes, what: str) -> None:
    (line,) = told(text)
    assert line.startswith(f"l.csv:{what}")


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MAX_LABELS", 2)
    rows = [f"a,{n},{n + 1},person,yes\n" for n in range(3)]
    assert len(read("".join(rows[:2]))) == 2
    assert told(HEAD + "".join(rows)) == ["l.csv:4:1: 3 labels; the limit is 2: use several files"]
    monkeypatch.setattr(labels, "MAX_FILE_BYTES", 40)
    assert told(HEAD + rows[0])[0].endswith("bytes; the limit is 40: use several files")


def test_many_mistakes_are_counted() -> None:
    lines = told(HEAD + "a,0,1,person,perhaps\n" * 60)
    assert len(lines) == 51
    assert lines[-1] == "l.csv: 10 more mistakes; the first 50 are told"


def test_labels_that_overlap_may_not_contradict_each_other() -> None:
    assert (
        len(read("a,0,5,person,yes\na,4,6,person,yes\na,6,7,person,no\nb,0,9,person,no\na,0,9,cars,1\n")) == 5
    )
    assert told(HEAD + "a,0,20,person,yes\na,5,6,person,no\na,12,13,person,no\na,6,7,person,yes\n") == [
        "l.csv:3:1: two truths about person at 5 s: 'no' here, 'yes' in line 2; let one end where the other begins",
        "l.csv:4:1: two truths about person at 12 s: 'no' here, 'yes' in line 2; let one end where the other begins",
    ]


def test_recordings_get_one_name_and_one_that_is_missing_is_no_mistake_of_the_file() -> None:
    def find(source: str) -> str:
        if source == "gone":
            raise SourceError("gone: no such file")
        if source == "cam":
            raise ConfigError("cam is live")
        return source.removeprefix("./")

    known = Known(KNOWN.questions, find)
    assert {label.source for label in read("./a,0,1,person,no\na,1,2,person,no\n", known)} == {"a"}
    assert len(told(HEAD + "./a,0,1,person,no\na,0,2,person,yes\n", known)) == 1
    assert told(HEAD + "gone,0,1,person,no\n", known, SourceError) == ["l.csv:2:1: gone: no such file"]
    assert told(HEAD + "gone,0,1,person,no\ncam,0,1,person,no\n", known) == [
        "l.csv:2:1: gone: no such file",
        "l.csv:3:1: cam is live",
    ]


def test_rows_about_other_questions_can_be_left_out() -> None:
    known = Known({"person": KNOWN.questions["person"]}, skip_others=True)
    assert [label.line for label in read("?,0,1,cars,9\na,0,1,person,yes\n", known)] == [3]
    assert told(HEAD + "a,0,1,cars,9\n", known) == [
        "l.csv:2:1: no label of the questions that are wanted: person"
    ]


def test_a_label_checks_itself() -> None:
    with pytest.raises(ValueError, match="from a time to a later one"):
        Label("a", 1, 1, "q", True, 2)


TIMES = st.integers(0, 10**14).map(lambda ms: ms % 10**11 * 10**3)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1).map(
    str.strip
)


@given(NAMES.filter(bool), TIMES, st.integers(1, 10**9), st.booleans())
def test_what_is_written_is_read_again(source: str, begin: int, lasts: int, value: bool) -> None:
    text = labels_text([(source, begin, begin + lasts, "person", value)])
    assert parse_labels(text.encode(), "l", KNOWN) == (
        Label(source, begin, begin + lasts, "person", value, 2),
    )


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 10**9 - 1))
def test_times_are_exact(hours: int, minutes: int, seconds: int, ns: int) -> None:
    wanted = (3600 * hours + 60 * minutes + seconds) * NS_PER_S + ns
    assert parse_time(f"{hours:02}:{minutes:02}:{seconds:02}.{ns:09}") == wanted
    assert parse_time(f"{60 * hours + minutes}:{seconds}.{ns:09}") == wanted
    assert parse_time(f"{Decimal(wanted) / NS_PER_S:f}") == wanted


@given(st.text())
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    mistake = ""
    try:
        parse_labels((HEAD + text).encode("utf-8", "replace"), "l", KNOWN)
    except ConfigError as error:
        mistake = str(error)
    assert not mistake or mistake.startswith("l:")
