"""The bench itself, small: real processes, real sockets, few of them."""

import pytest

from streamqa.bench import fanout
from streamqa.bench.fanout import Settings, measure
from streamqa.bench.fanout_rows import markdown


def test_a_small_run_of_every_server() -> None:
    found = measure(Settings(("steady", "fast"), (5,), rounds=1, scale=0.01), lambda line: None)
    assert found["not_run"] == []
    names = [row["name"] for row in found["rows"]]
    assert names == [
        "streamqa", "streamqa.single", "websockets.broadcast", "fastapi.queue", "streamqa", "websockets.broadcast",
    ]  # fmt: skip
    assert all(row["lost"] == 0 for row in found["rows"])
    assert all(row["deliveries_per_cpu_s"] > 0 for row in found["rows"])
    assert "fastapi.queue" in markdown(found)


def test_a_row_that_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "_STEADY", ("nothing", "websockets.broadcast"))
    found = measure(Settings(("steady",), (2,), rounds=1, scale=0.01), lambda line: None)
    assert found["rows"] == []
    assert "no server 'nothing'" in found["not_run"][0]["why"]


def test_the_log_and_coming_back() -> None:
    found = measure(Settings(("log",), rounds=1, records=500, scale=0.01), lambda line: None)
    assert [figure["unit"] for figure in found["figures"]] == ["1/s", "ms", "s"]
    assert "resume of 500 records" in markdown(found)
