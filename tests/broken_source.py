"""`streamqa` with a source that fails in a way that nobody foresaw: its message holds the whole URL.

python -m tests.broken_source run c.yaml
"""

from __future__ import annotations

from typing import NoReturn

from streamqa.capture import source
from streamqa.cli.main import run


class Broken:
    """A camera whose driver has a mistake in it, which tells the URL that it was given."""

    is_live = True
    facts = source.SourceFacts()

    def __init__(self, spec: source.SourceSpec) -> None:
        self._url = spec.url

    def open(self) -> NoReturn:
        try:
            raise KeyError(self._url)
        except KeyError as error:
            raise RuntimeError(f"cannot open {self._url!r}") from error

    def read(self, wanted_ns: int = 0) -> NoReturn:
        raise RuntimeError(f"cannot read {self._url!r}")

    def close(self) -> None:
        """Nothing is held."""


if __name__ == "__main__":
    source.KINDS["scene"] = "tests.broken_source:Broken"
    run()
