"""schemathesis against our OpenAPI document and a real server: no 500, and every response as it is documented."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from streamqa.records import Change, Fault
from streamqa.sinks.log import AnswerLog
from tests.noted_line import ControlSite
from tests.sinks.outlets import Ways

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, negative_data_rejection,
]  # fmt: skip
LONGEST_URL = 8_000  # where it is longer than 32 KiB, uvicorn closes the connection in the middle of it


@pytest.fixture
def server(site: Any, answer: Any, status: Any, serving: Any, tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "line").mkdir()
    site.control = ControlSite(tmp_path / "line").control
    ways = Ways(tmp_path / "line")
    site.sinks, site.webhooks = ways.outlets.states, ways.hooks
    site.images["gate"] = np.full((36, 64, 3), 200, np.uint8)
    with closing(AnswerLog(site.path)) as log:
        at = answer().answered_at
        log.append(
            [
                answer(),
                status(),
                Fault("model_worker", "it died", at),
                Change("source", "x", "removed", "me", at),
            ]
        )
    with closing(ways.outlets), serving(site):
        yield site


@pytest.mark.filterwarnings("ignore::DeprecationWarning:jsonschema")
@pytest.mark.parametrize("count", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_every_operation_keeps_to_its_description(
    server: Any, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    schema = schemathesis.openapi.from_url(f"{server.http}/openapi.json")
    asked = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/events":  # goes on for ever
            continue
        for mode in GenerationMode:

            @settings(
                max_examples=count, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
                phases=(Phase.generate, Phase.shrink),
            )  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def keeps(case: schemathesis.Case) -> None:
                assume(case.method != "GET" or len(case.as_curl_command()) < LONGEST_URL)
                response = case.call()
                case.validate_response(response, checks=CHECKS)

            with suppress(Unsatisfiable):  # nothing can be wrong with a request without arguments
                keeps()
        asked.append(operation.label)
    assert len(asked) > 15
