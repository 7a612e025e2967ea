import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streamqa.bench import quick
from streamqa.cli.main import app
from streamqa.errors import ConfigError


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


def test_a_cost_without_a_unit_is_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "pipeline", "--cost", "20"])
    assert isinstance(result.exception, ConfigError)
    assert "--cost" in str(result.exception)
