import inspect

import pytest

from streamqa import errors
from streamqa.errors import (
    ConfigError,
    ModelError,
    ModelLost,
    ProtocolError,
    SourceEnded,
    SourceError,
    SourceRefused,
    SourceUnavailable,
    StreamQAError,
)

ALL = [c for _, c in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (SourceError("x"), 3),
        (SourceUnavailable("x"), 3),
        (SourceRefused("x"), 3),
        (SourceEnded("x"), 3),
        (ModelError("x"), 4),
        (ModelLost("x"), 4),
        (ProtocolError("bad", "x"), 1),
    ],
)
def test_the_exit_code_says_who_must_act(error: StreamQAError, code: int) -> None:
    assert error.exit_code == code
    assert str(error) == "x"


def test_one_tree() -> None:
    assert all(issubclass(c, StreamQAError) for c in ALL)
    leaves = {SourceUnavailable, SourceRefused, SourceEnded}
    assert {c for c in ALL if issubclass(c, SourceError)} == {SourceError, *leaves}


def test_every_error_is_in_the_tree_at_the_top() -> None:
    assert errors.__doc__ is not None
    assert all(c.__name__ in errors.__doc__ for c in ALL)


def test_exit_codes_are_distinct() -> None:
    codes = [value for name, value in vars(errors).items() if name.startswith("EXIT_")]
    assert sorted(codes) == [0, 2, 3, 4, 130]


def test_a_protocol_error_has_a_code_for_machines() -> None:
    assert ProtocolError("too_large", "the message has 2 MB").code == "too_large"
