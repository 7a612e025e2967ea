from typing import Any

import pytest
import torch

from streamqa.bench import rounds
from streamqa.bench.engine import NO_GPU, Run, Settings, run
from streamqa.bench.grid import Cell, Selection
from streamqa.bench.table import markdown
from streamqa.errors import ConfigError

# The keys that the issue names; others may stand beside them.
ROW = {
    "crops",
    "questions",
    "answer_tokens",
    "frames_in_flight",
    "draft_acceptance",
    "dtype",
    "frames_per_s",
    "answers_per_s",
    "p50_ms",
    "p95_ms",
    "tflops",
    "percent_of_ceiling",
    "baseline_ratio",
}


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def result(said: list[str]) -> dict[str, Any]:
    selection = Selection((1, 9), (1, 4), (0, 3), (2,), (1.0,), approximate=True)
    return run(Settings(selection, ("fp32",), rounds=2, minutes=0, size="small"), said.append)


def test_every_row_is_there_with_every_key(result: dict[str, Any]) -> None:
    assert {"machine", "ceiling", "rows", "slope"} <= result.keys()
    assert len(result["rows"]) == 2 * 2 * 2 + 2 * 2  # detail: fast with 9 crops only, and no int8 in fp32
    for row in result["rows"]:
        assert row.keys() >= ROW
        assert row["dtype"] == "fp32"
        assert row["reruns"] == 0
        for key in (
            "frames_per_s",
            "answers_per_s",
            "p50_ms",
            "tflops",
            "percent_of_ceiling",
            "baseline_ratio",
        ):
            assert row[key] > 0, (key, row)
        assert row["p50_ms"] <= row["p95_ms"]
        assert row["percent_of_ceiling_linear"] <= row["percent_of_ceiling"]
        assert row["answers_per_s"] == pytest.approx(row["frames_per_s"] * row["questions"], rel=1e-3)


def test_drafts_hold_and_tokens_agree_in_fp32(result: dict[str, Any]) -> None:
    drafted = [row for row in result["rows"] if row["answer_tokens"]]
    assert {row["drafts_held"] for row in drafted} == {1.0}
    assert {found["crops"] for found in result["equivalence"]} == {1, 9}
    assert [found["flips"] for found in result["equivalence"]] == [0, 0]


def test_approximate_rows_say_what_they_change(result: dict[str, Any], said: list[str]) -> None:
    for row in result["rows"]:
        assert (row["quality"] is not None) == (row["kind"] == "detail-fast")
    assert any("tiny" in note for note in result["notes"])
    assert any("left out: int8" in line for line in said)


def test_the_machine_and_its_ceiling_are_named(result: dict[str, Any], said: list[str]) -> None:
    assert {"processor", "cores", "torch", "threads", "measured_at", "load_average"} <= result[
        "machine"
    ].keys()
    assert result["ceiling"]["gemm_tflops"] > 0
    assert result["ceiling"]["copy_gb_per_s"] > 0
    assert result["ceiling"]["shapes"]
    assert result["machine"]["device"] != "cpu" or NO_GPU in said


def test_an_added_question_has_its_price(result: dict[str, Any]) -> None:
    assert {tuple(slope["questions"]) for slope in result["slope"]} == {(1, 4)}


def test_the_result_can_be_shown(result: dict[str, Any]) -> None:
    assert "| scored | 2 | – |" in markdown([result])


def test_noisy_rows_are_measured_again_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "NOISY", -1.0)  # everything is
    row = [Cell(1, 1, 2, 1, 1.0)]
    settings = Settings(Selection(), ("fp32",), rounds=2, size="small")
    left = iter([True, True, False])
    found = Run(settings, "fp32", torch.device("cpu"), lambda _: None).measure(row, lambda: next(left))
    assert (found["rows"][0]["reruns"], found["rows"][0]["rounds"]) == (2, 2)
    assert found["rows"][0]["noisy"]


@pytest.mark.parametrize(("dtypes", "size"), [(("fp8",), "full"), ((), "tiny")])
def test_what_there_is_not_is_refused(dtypes: tuple[str, ...], size: str) -> None:
    with pytest.raises(ConfigError, match="there are"):
        Settings(Selection(), dtypes, size=size)
