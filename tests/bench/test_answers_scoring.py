import pytest

from streamqa.bench import answers_scoring
from streamqa.bench.answers_scoring import ENDED, ONE_TOKEN, TWO_WORDS, figures, markdown, measure, rows, ways


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
    assert "| yes or no | m | 0 | 2000.0 | +1.0 (+1.0 to +5.5) |" in markdown(table)


def test_a_part_of_a_model_is_held_against_the_whole() -> None:
    seconds = {ONE_TOKEN: [1.0, 2.0, 4.0], "yes or no": [1.1, 2.2, 4.4]}
    (row,) = rows("m", seconds, whole_s=20.0)
    assert row["more_percent"] == [0.5, 1.0, 2.0]
    assert "| m | 0 | 20000.0 | +1.0 (" in markdown([{**row, "rows": 0}])[-1]


def test_a_small_run_of_both_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_scoring, "_ROUND_S", 0.0)
    told: list[str] = []
    table = measure("small", 2, told.append)
    assert len(told) == 3
    found = {(row["model"], row["what"]): row for row in table}
    assert found["moondream2, small", "number up to 9"]["rows"] == 0  # every word is one token
    assert found["tiny", TWO_WORDS]["rows"] > found["tiny", "choice of six"]["rows"] > 0
    assert ("tiny", ENDED) in found  # answers of random weights never end
    assert ("moondream2, small", ENDED) not in found
    assert {len(row["more_percent"]) for row in table} == {2}
