"""JSON lines: each record, exactly as it is on the wire, a line at the end of a file.

Lines are handed to the operating system at once and are whole: what a full disk or a killed process left half
written is taken off again. The file may be moved away or truncated at any time, as logrotate does.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from streamqa.errors import ConfigError
from streamqa.sink_settings import JsonlConfig
from streamqa.sinks.base import Logged
from streamqa.sinks.log import to_json
from streamqa.sinks.outlet import Context, Ledger, QueuedOutlet, Undelivered
from streamqa.sinks.wanted import Wanted

STDOUT = "-"

# Appending; not waiting for whoever reads a named pipe; for the owner only where it is made.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
_MODE = 0o600
_TAIL_BYTES = 64 * 1024


def open_outlet(settings: JsonlConfig, id: str, context: Context) -> QueuedOutlet:
    """The outlet of a configuration's `jsonl` entry.

    Raises:
        ConfigError: the file cannot be written, or is something else than JSON lines.
    """
    wanted = Wanted(settings.types, settings.sources, settings.questions, settings.changed_only)
    path = settings.jsonl
    try:
        delivery = Stream(sys.stdout.fileno()) if path == STDOUT else Lines(Path(path))
    except OSError as error:
        raise ConfigError(
            f"sink {id}: jsonl: {path}: {_reason(error)}; choose a file that may be written"
        ) from None
    target = "stdout" if path == STDOUT else path
    return QueuedOutlet(Ledger(id, "jsonl", target, context.metrics), wanted, delivery)


class Lines:
    """A `Delivery` to a file, which it opens again where it was moved away."""

    def __init__(self, path: Path) -> None:
        """Opens it. Raises OSError: it cannot be written, or holds something else."""
        self._path = path
        self._file = _opened(path)

    def deliver(self, records: Sequence[Logged]) -> None:
        """Append them, all that fit."""
        data = b"".join(to_json(record.payload).encode() + b"\n" for record in records)
        written = 0
        try:
            if not self._is_in_place():
                self._close()
                self._file = _opened(self._path)
            begin = os.fstat(self._file).st_size
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError as error:
            lines = data[:written].count(b"\n")
            if written:
                self._take_back(begin, written, data)
            raise Undelivered(f"{self._path}: {_reason(error)}", delivered=lines) from None

    def close(self) -> None:
        """Close the file."""
        self._close()

    def _is_in_place(self) -> bool:
        if self._file < 0:
            return False
        try:
            here, there = os.fstat(self._file), os.stat(self._path)
        except OSError:
            return False
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def _take_back(self, begin: int, written: int, data: bytes) -> None:
        """Take off the half of a line that was written last, unless somebody else wrote after it."""
        half = written - (data[:written].rfind(b"\n") + 1)
        if half and os.fstat(self._file).st_size == begin + written:
            os.ftruncate(self._file, begin + written - half)

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


class Stream:
    """A `Delivery` to standard output."""

    def __init__(self, file: int) -> None:
        """`file` is not closed."""
        self._file = file

    def deliver(self, records: Sequence[Logged]) -> None:
        """Write them; waits for whoever reads."""
        for number, record in enumerate(records):
            data = to_json(record.payload).encode() + b"\n"
            try:
                while data:
                    data = data[os.write(self._file, data) :]
            except OSError as error:
                is_worth_it = error.errno != errno.EPIPE
                raise Undelivered(
                    f"standard output: {_reason(error)}", delivered=number, retry=is_worth_it
                ) from None

    def close(self) -> None:
        """Nothing is held."""


def _opened(path: Path) -> int:
    """A descriptor to append whole lines with."""
    file = os.open(path, _FLAGS, _MODE)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "no regular file")
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, 0) != b"{":
            raise OSError(errno.EINVAL, "holds something else than JSON lines")
        _mend(file, size)
    except BaseException:
        os.close(file)
        raise
    return file


def _mend(file: int, size: int) -> None:
    """Take off half a line at the end, which a killed process left; a whole one that lacks its end gets it.

    Raises OSError: what stands there is neither.
    """
    begin = max(0, size - _TAIL_BYTES)
    tail = os.pread(file, size - begin, begin)
    if not tail or tail.endswith(b"\n"):
        return
    whole = tail.rfind(b"\n") + 1
    last = tail[whole:]
    if (not whole and begin) or _is_whole(last):  # longer than any record: not ours to cut
        os.write(file, b"\n")
    elif last.startswith(b"{"):
        os.ftruncate(file, begin + whole)
    else:
        raise OSError(errno.EINVAL, "ends in something else than JSON lines")


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
