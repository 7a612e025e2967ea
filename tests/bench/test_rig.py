import pytest
import torch

from streamqa.bench.grid import Cell
from streamqa.bench.rig import Rig, Subject
from streamqa.errors import ModelError, StreamQAError
from streamqa.model.moondream.quantise import has_int8

HELD, FAILED, CLOSED = Cell(1, 3, 4, 2, 1.0), Cell(1, 2, 4, 2, 0.0), Cell(9, 2, 0, 1, 0.0)
SUBJECT = Subject("exact", 1, 2, 12)


@pytest.fixture(scope="module")
def rig() -> Rig:
    rig = Rig("small", torch.float32, torch.device("cpu"))
    rig.prepare([HELD, FAILED, CLOSED])
    return rig


def test_a_call_has_the_pictures_questions_and_drafts_of_its_row(rig: Rig) -> None:
    requests = rig.requests(HELD)
    assert [len(request.prompts) for request in requests] == [3, 3]
    assert [request.prompts[0].text for request in requests] == [rig.question(12, 0)] * 2
    assert len(rig.tokenizer.encode(rig.question(12, 0))) == 12
    assert len(rig.model(CLOSED.kind).crops(rig.requests(CLOSED)[0].image)[0]) == 9
    assert all(prompt.options for prompt in rig.requests(CLOSED)[0].prompts)


def test_drafts_are_the_answer_or_nothing_of_it(rig: Rig) -> None:
    answers = [[text.split() for text in row] for row in rig.answers[SUBJECT]]
    assert [[text.split() for text in row] for row in rig.drafts[HELD]] == answers
    for wrong_row, row in zip(rig.drafts[FAILED], answers, strict=True):
        for wrong, answer in zip(wrong_row, row, strict=False):
            assert len(wrong.split()) == 4
            assert all(a != b for a, b in zip(wrong.split(), answer, strict=True))


def test_right_drafts_hold_and_wrong_ones_do_not(rig: Rig) -> None:
    for cell, share in ((HELD, 1.0), (FAILED, 0.0), (CLOSED, None)):
        assert rig.warm(cell) > 0
        assert rig.held(cell, rig.call(cell, rig.requests(cell))[1]) == share


def test_tokens_are_those_of_the_baseline(rig: Rig) -> None:
    compared = rig.compare(SUBJECT)
    assert compared["tokens"] == 3 * 4
    assert compared["flips"] == 0
    assert compared["flip_margins"] == []
    assert compared["median_margin"] > 0


def test_a_row_without_an_answer_is_no_measurement(rig: Rig) -> None:
    requests = rig.requests(HELD)
    with pytest.raises(StreamQAError, match="no answer to measure"):
        rig.call(Cell(1, 3, 5, 2, 1.0), requests)


def test_approximate_answers_are_compared_with_exact_ones() -> None:
    rig = Rig("small", torch.float32, torch.device("cpu"))
    exact, fast = Cell(9, 2, 4, 1, 1.0), Cell(9, 2, 4, 1, 1.0, kind="detail-fast")
    rig.prepare([exact, fast])
    assert rig.changed(exact) is None
    changed = rig.changed(fast)
    assert changed is not None
    assert changed["answers"] == 2
    assert 0 <= changed["changed"] <= 2
    assert changed["max_score_moved"] is None
    assert "unvalidated" in changed["note"]
    scored = rig.changed(Cell(9, 2, 0, 1, 0.0, kind="detail-fast"))
    assert scored is not None
    assert 0 < scored["max_score_moved"] <= 1


def test_a_precision_is_a_model_of_its_own() -> None:
    rig = Rig("small", torch.bfloat16, torch.device("cpu"))
    exact, int8 = Cell(1, 2, 4, 1, 1.0), Cell(1, 2, 4, 1, 1.0, kind="int8")
    if not has_int8():
        pytest.skip("this torch has no int8 layers")
    assert rig.model("int8") is not rig.model("exact")
    rig.prepare([exact, int8])
    changed = rig.changed(int8)
    assert changed is not None
    assert changed["answers"] == 2
    with pytest.raises(ModelError, match="fp8"):
        rig.model("fp8")
