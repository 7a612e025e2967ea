"""The error tree, by who must act.

StreamQAError
 ├── ConfigError             the user: a setting, a question or an argument is wrong     exit code 2
 │    ├── NotThere           no source, question, frame or record of that name
 │    ├── TakenId            there is one of that name already
 │    └── NotAllowed         it may not be done by whoever asks, or from where it is asked
 │         └── NoAddress     where it leads to has no address now: it may have one later
 ├── Busy                    too much is asked at once: try again soon
 ├── SourceError             a camera or a file                                          exit code 3
 │    ├── SourceUnavailable  not there now: retry with backoff
 │    ├── SourceRefused      it said no (password, 404): retry slowly
 │    └── SourceEnded        there is no more: stop
 ├── ModelError              the operator: weights, memory, device                       exit code 4
 │    └── ModelLost          its process is gone, and with it what was inside: not asked again
 └── ProtocolError           the client on the other side of the wire

Every message is one line that says what happened, to what, and what to do next.
"""

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_SOURCE = 3
EXIT_MODEL = 4
EXIT_INTERRUPTED = 130


class StreamQAError(Exception):
    """Any failure that streamqa reports by itself."""

    exit_code = 1


class ConfigError(StreamQAError):
    """A setting, a question or an argument is wrong; the user must change it."""

    exit_code = EXIT_USAGE


class NotThere(ConfigError):
    """There is no source, question, frame or record of that name."""


class TakenId(ConfigError):
    """There is one of that name already."""


class NotAllowed(ConfigError):
    """It may not be done by whoever asks, or from where it is asked."""


class NoAddress(NotAllowed):
    """Where it leads to has no address now, so nobody can say whether it is allowed; it may have one later."""


class Busy(StreamQAError):
    """Too much is asked at once; worth another try soon."""


class SourceError(StreamQAError):
    """A camera or a file does not give frames."""

    exit_code = EXIT_SOURCE


class SourceUnavailable(SourceError):
    """Not there now; worth another try soon."""


class SourceRefused(SourceError):
    """It answered and said no (wrong password, 404, no such format); worth a slow retry only."""


class SourceEnded(SourceError):
    """There are no more frames, and there will be none."""


class ModelError(StreamQAError):
    """Weights, device or memory; the operator must act."""

    exit_code = EXIT_MODEL


class ModelLost(ModelError):
    """The process that ran the model is gone; what was in it is lost.

    Whoever asked gives the frames in flight back as errors and never asks about them again: one of them may be
    what killed it.
    """


class ProtocolError(StreamQAError):
    """The peer on the wire sent something that the protocol does not allow.

    `code` is a short, stable, machine-readable word for the wire's `error` message.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
