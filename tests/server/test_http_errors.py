from typing import Any

from streamqa.server.http_errors import refusals


def test_refusals_of_the_guard_are_documented_for_every_operation(get: Any) -> None:
    document = get("/openapi.json").json()
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert operations
    for operation in operations:
        assert {"401", "403", "429"} <= set(operation["responses"]), operation["operationId"]


def test_each_has_a_sentence() -> None:
    assert [said["description"][-1] for said in refusals(401, 404).values()] == [".", "."]
