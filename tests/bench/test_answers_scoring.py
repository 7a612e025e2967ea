import pytest

from streamqa.bench import answers_scoring
from streamqa.bench.answers_scoring import ONE_TOKEN, TWO_WORDS, figures, markdown, measure, rows, ways


def test_all_ways_ask_the_same_questions() -> None:
    asked = ways()
    assert ONE_TOKEN in asked
    texts = {tuple(prompt.text for prompt in prompts) for prompts in asked.values()}
    assert len(texts) == 1
    assert all(prompt.options for name, these in asked.items() for prompt in these if name != ONE_TOKEN)
    assert {prompt.max_tokens for prompt in asked[ONE_TOKEN]} == {1}


def test_rounds_are_compared_with_themselves() -> None:
    seconds = {ONE_TOKEN: [1.0, 2.0, 4.0], "yes or no": [1.01, 2.02, 4.4], TWO_WORDS: [2.0, 4.0, 8.0]}
    table = [{**row, "rows": 0} for row in rows("m", seconds)]
    assert table[0]["more_percent"] == [1.0, 1.0, 10.0]
    one, two = figures(table)
    assert (one.value, one.reached) == (1.0, True)
    assert (two.value, two.target) == (100.0, None)
    assert "| yes or no | m | 0 | 2000.0 | 2020.0 | +1.0 (+1.0 to +5.5) |" in markdown(table)


def test_a_small_run_of_both_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_scoring, "_LEAST_CALL_S", 0.0)
    told: list[str] = []
    table = measure("small", 2, told.append)
    assert [line.split(": ")[1] for line in told] == ["tiny", "moondream2, small"]
    found = {(row["model"], row["what"]): row for row in table}
    assert found["moondream2, small", "yes or no"]["rows"] == 0  # every word is one token
    assert found["moondream2, small", TWO_WORDS]["rows"] > 0
    assert {len(row["more_percent"]) for row in table} == {2, 10}
