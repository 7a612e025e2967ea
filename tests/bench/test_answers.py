import json

import pytest

from streamqa.bench import answers
from streamqa.bench.answers import PARTS, Settings, markdown, measure
from streamqa.bench.figures import Figure, Target
from streamqa.bench.table import RESULTS
from streamqa.errors import ConfigError


@pytest.mark.parametrize(
    "wrong",
    [{"parts": ()}, {"parts": ("all",)}, {"scenes": 0}, {"clips": -1}, {"rounds": 0}, {"size": "tiny"}],
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="bench answers"):
        Settings(**wrong)  # type: ignore[arg-type]  # of mixed types on purpose


def test_every_part_has_its_measure_and_its_table() -> None:
    assert set(PARTS) == set(answers._MEASURES) == set(answers._TABLES)


def test_only_what_is_asked_for_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"material": "m", "group": "numbers", "windows": 1, "scenes": 1}
    row |= {f"{name}{end}": 0.1 for name in ("single", "mean", "majority") for end in ("", "_low", "_high")}
    row |= {"mean_ratio": 1.0, "majority_ratio": None}
    figures = [Figure("a", "x", (0.4,), Target("<=", 0.5)), Figure("b", "%", (1.0,)),
               Figure("c", "%", (90.0,), Target(">=", 95.0))]  # fmt: skip
    monkeypatch.setattr(
        answers, "_MEASURES", {"window": lambda settings, progress: (figures, [row]), "kinds": None}
    )
    told: list[str] = []
    result = measure(Settings(("window",)), told.append)
    assert told == ["measuring window"]
    assert json.loads(json.dumps(result))["tables"] == {"window": [row]}
    text = markdown(result)
    assert "| m: numbers | 1 | 1 |" in text
    assert "| a | 0.4 x | <= 0.5 | yes |" in text
    assert "| c | 90 % | >= 95 | **no** |" in text
    assert "| b |" not in text


def test_the_committed_result_can_be_shown() -> None:
    (path,) = RESULTS.glob("answers-*.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert set(result["tables"]) == set(PARTS)
    text = markdown(result)
    assert all(row["name"] in text for row in result["figures"] if row["target"])
