import json

import pytest

from streamqa.config import load_config
from streamqa.evaluate.labels import Known, parse_labels
from streamqa.evaluate.truth_labels import QUESTIONS, main, truth_rows
from streamqa.types import NS_PER_S
from tests.cli.process import ROOT, SAMPLES

LABELS = SAMPLES / "gate.labels.csv"
TRUTH = SAMPLES / "gate.truth.jsonl"


def frame(t_s: float, **values: object) -> str:
    return json.dumps({"t_s": t_s, "values": values})


def test_stretches_of_one_value_become_rows_and_what_cannot_be_told_none() -> None:
    lines = [
        frame(0.0, a=1),
        frame(0.066667, a=1),
        frame(0.133333, a=None),
        frame(0.2, a=0),
        frame(0.266667, a=0),
    ]
    assert list(truth_rows(lines, "c.mp4", ("a",))) == [
        ("c.mp4", 0, 133_000_000, "a", 1),
        ("c.mp4", 200_000_000, 332_000_000, "a", 0),
    ]
    assert list(truth_rows([frame(0.0, a=True)], "c", ("a",))) == [("c", 0, NS_PER_S, "a", True)]


def test_the_shipped_labels_are_the_shipped_truth(capsys: pytest.CaptureFixture[str]) -> None:
    main([str(TRUTH), "gate.mp4"])
    assert capsys.readouterr().out == LABELS.read_text(encoding="utf-8")


def test_the_shipped_labels_fit_the_demo_and_cover_what_can_be_told() -> None:
    questions = {one.id: one for one in load_config(ROOT / "configs" / "demo.yaml").standing()}
    assert set(QUESTIONS) <= set(questions)
    found = parse_labels(LABELS.read_bytes(), str(LABELS), Known(questions))
    for line in TRUTH.read_text(encoding="utf-8").splitlines():
        t_ns, values = round(json.loads(line)["t_s"] * NS_PER_S), json.loads(line)["values"]
        for question in QUESTIONS:
            said = {o.value for o in found if o.question == question and o.from_ns <= t_ns < o.to_ns}
            assert said == ({values[question]} - {None}), (t_ns, question)
