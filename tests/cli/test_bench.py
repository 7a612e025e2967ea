import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streamqa.bench import quick
from streamqa.cli.main import app
from streamqa.errors import ConfigError
from tests.cli.process import streamqa


def test_figures_are_shown_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = quick.Figure("first answer", 4.5, "s", "streamqa demo", (5.0, 4.5))
    monkeypatch.setattr(quick, "measure", lambda rounds, live_s: [figure])
    result = CliRunner().invoke(app, ["bench", "-o", str(tmp_path / "b.json")])
    assert result.exit_code == 0, result.output
    assert "4.50 s" in result.output
    assert json.loads((tmp_path / "b.json").read_text())["figures"][0]["rounds"] == [5.0, 4.5]


RESULT: dict[str, Any] = {
    "machine": {"processor": "a CPU", "cores": 2, "python": "3.11.1", "load_average": 0.5},
    "settings": {},
    "figures": [
        {
            "name": "p50",
            "unit": "ms",
            "value": 3.0,
            "spread": 0.1,
            "rounds": [3.0],
            "target": "<= 10",
            "reached": True,
        }
    ],
}


@pytest.mark.parametrize("part", ["pipeline", "growth"])
def test_a_part_is_shown_as_json_and_kept(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"streamqa.bench.{part}.measure", lambda settings, progress: RESULT)
    result = CliRunner().invoke(app, ["bench", part, "--json", "-o", str(tmp_path / "b.json")])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads((tmp_path / "b.json").read_text()) == RESULT


def test_a_part_is_shown_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("streamqa.bench.pipeline.measure", lambda s, progress: asked.append(s) or RESULT)
    result = CliRunner().invoke(app, ["bench", "pipeline", "--cameras", "4", "--cost", "50ms"])
    assert "3.000 ms" in result.stdout
    assert "target <= 10: reached" in result.stdout
    assert (asked[0].cameras, asked[0].cost_ms) == (4, 50.0)


@pytest.mark.parametrize("shown", ["--json", "--table"])
def test_answers_are_shown_and_kept(shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    result = {**RESULT, "tables": {}}
    monkeypatch.setattr("streamqa.bench.answers.measure", lambda s, progress: asked.append(s) or result)
    done = CliRunner().invoke(
        app, ["bench", "answers", "--part", "kinds", shown, "-o", str(tmp_path / "b.json")]
    )
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "b.json").read_text()) == result
    assert asked[0].parts == ("kinds",)
    assert ("| p50 | 3 ms | <= 10 | yes |" in done.stdout) == (shown == "--table")


def test_a_cost_without_a_unit_is_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "pipeline", "--cost", "20"])
    assert isinstance(result.exception, ConfigError)
    assert "--cost" in str(result.exception)


def test_the_engine_is_measured_and_its_result_becomes_a_table(tmp_path: Path) -> None:
    axes = ["--crops", "1", "--questions", "2", "--answer-tokens", "3", "--draft-acceptance", "1"]
    options = ["--size", "small", "--rounds", "2", "--minutes", "0", "--json", "-o", str(tmp_path)]
    done = streamqa("bench", "engine", *axes, *options)
    assert done.returncode == 0, done.stderr
    assert "no GPU here" in done.stderr or "cuda" in done.stdout
    printed = json.loads(done.stdout)  # nothing but the result
    (written,) = tmp_path.glob("engine-*.json")
    assert json.loads(written.read_text()) == printed
    assert [row["questions"] for row in printed["rows"]] == [2]
    shown = streamqa("bench", "table", str(written))
    assert shown.returncode == 0, shown.stderr
    assert "| 1 | 2 | 3 | 1 | 100% |" in shown.stdout.replace(" (noisy)", "")


def test_a_row_that_does_not_exist_is_a_usage_error() -> None:
    done = streamqa("bench", "engine", "--crops", "3")
    assert done.returncode == 2
    assert "--crops 3" in done.stderr
    assert streamqa("bench", "table", "none.json").returncode == 2
