"""`streamqa run`: a configuration, running and serving until it is stopped."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamqa.cli.output import StatusPrinter
from streamqa.cli.signals import stop_on_signal
from streamqa.errors import ConfigError

if TYPE_CHECKING:
    from streamqa.capture.source import SourceSpec
    from streamqa.config import Config
    from streamqa.sinks.base import Sink


def command(
    config: Annotated[Path, typer.Argument(help="A YAML configuration")],
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve here, whatever the file says")
    ] = None,
) -> None:
    """Run a configuration: watch its sources, answer its questions, serve subscribers, until Ctrl-C."""
    from streamqa.config import load_config

    loaded = load_config(config)
    if not loaded.sources or not loaded.questions:
        raise ConfigError(f"{config}: needs at least one source and one question")
    serve(loaded, port=port, sinks=(StatusPrinter(sys.stderr),))


def source_specs(config: Config) -> tuple[SourceSpec, ...]:
    """The sources of a configuration as capture knows them.

    Raises:
        ConfigError: a URL is of no known kind.
    """
    from streamqa.capture.source import SourceSpec, kind_of

    for name, item in config.sources.items():
        try:
            kind_of(item.url)
        except ConfigError as error:
            raise ConfigError(f"sources.{name}: {error}") from None
    return tuple(
        SourceSpec(name, item.url, item.pace, item.loop, item.priority, item.detail)
        for name, item in config.sources.items()
    )


def serve(
    config: Config,
    *,
    port: int | None = None,
    sinks: Sequence[Sink] = (),
    for_s: float | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Run a configuration until a signal, or for `for_s` seconds; `on_ready` gets the page's address.

    Raises:
        ConfigError: the port is taken, or a source or the log is wrong.
        ModelError: the model cannot be loaded.
    """
    from streamqa.metrics import Metrics
    from streamqa.model.base import open_model
    from streamqa.pipeline import Parts
    from streamqa.server.listen import listen
    from streamqa.service import run_service
    from streamqa.sinks.log import AnswerLog

    specs = source_specs(config)
    stop = threading.Event()
    with (
        closing(listen(config.serve.host, config.serve.port if port is None else port)) as door,
        closing(AnswerLog(config.log.path)) as log,
        closing(
            open_model(config.model.name, Path(config.model.path) if config.model.path else None)
        ) as model,
        stop_on_signal(stop),
    ):
        parts = Parts(config.standing(), specs, model, log, tuple(sinks), Metrics())
        asyncio.run(run_service(parts, door, stop, for_s=for_s, on_ready=on_ready or _announce))


def _announce(url: str) -> None:
    print(f"streamqa: serving {url}", file=sys.stderr)
