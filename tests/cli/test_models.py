from typer.testing import CliRunner

from streamqa.cli.main import app
from streamqa.model.base import BACKENDS


def test_every_backend_is_listed_with_what_it_needs_and_its_licence() -> None:
    output = CliRunner().invoke(app, ["models"]).output
    for name in BACKENDS:
        assert f"{name}\n" in output
    assert output.count("needs ") == output.count("licence ") == len(BACKENDS)
