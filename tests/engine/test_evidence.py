import pytest

from streamqa.engine.evidence import EVERY_NS, is_worth_keeping


@pytest.mark.parametrize(
    ("changed", "t_ns", "last_ns", "kept"),
    [
        (False, 5, None, True),  # the first
        (True, 6, 5, True),
        (False, 5 + EVERY_NS - 1, 5, False),
        (False, 5 + EVERY_NS, 5, True),
    ],
)
def test_changes_are_kept_and_else_one_a_minute(
    changed: bool, t_ns: int, last_ns: int | None, kept: bool
) -> None:
    assert is_worth_keeping(changed, t_ns, last_ns) is kept
