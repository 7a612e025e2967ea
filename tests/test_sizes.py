import pytest

from streamqa.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("1 MB", 10**6), ("500MB", 5 * 10**8), ("1.5 GB", 15 * 10**8), ("2 TB", 2 * 10**12), ("off", None)],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "10", "ten GB", "-1 GB", "0 GB", "0.5 MB", "1 KB", "OFF"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="write at least 1 MB"):
        parse_size(text)
