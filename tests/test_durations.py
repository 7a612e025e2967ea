import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("500ms", 500_000_000),
        ("0.2s", 200_000_000),
        ("0.6s", 600_000_000),
        ("2 s", 2_000_000_000),
        ("1.5m", 90_000_000_000),
        ("1h", 3_600_000_000_000),
        ("1d", 86_400_000_000_000),
        ("0s", 0),
    ],
)
def test_reads_what_people_write(text: str, expected_ns: int) -> None:
    assert parse_duration(text) == expected_ns


@pytest.mark.parametrize(
    "text", ["", "2", "s", "-1s", "2 weeks", "1e3s", "400d", "nan s", "2s 3s", "٣s" * 50]
)
def test_refuses_the_rest_with_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|negative|year") as caught:
        parse_duration(text)
    assert "\n" not in str(caught.value)


@given(st.integers(min_value=0, max_value=365 * 86400 * 10**9))
def test_what_is_written_reads_back(duration_ns: int) -> None:
    assert parse_duration(format_duration(duration_ns)) == duration_ns
