import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamqa.bench import quick
from streamqa.cli.main import app


def test_figures_are_shown_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = quick.Figure("first answer", 4.5, "s", "streamqa demo", (5.0, 4.5))
    monkeypatch.setattr(quick, "measure", lambda rounds, live_s: [figure])
    result = CliRunner().invoke(app, ["bench", "-o", str(tmp_path / "b.json")])
    assert result.exit_code == 0, result.output
    assert "4.50 s" in result.output
    assert json.loads((tmp_path / "b.json").read_text())["figures"][0]["rounds"] == [5.0, 4.5]
