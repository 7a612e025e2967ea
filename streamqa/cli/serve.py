"""`streamqa run`: a configuration, running and serving until it is stopped."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamqa.cli.output import StatusPrinter
from streamqa.cli.signals import stop_on_signal
from streamqa.errors import ConfigError
from streamqa.types import NS_PER_S

if TYPE_CHECKING:
    from streamqa.capture.reach import Reach
    from streamqa.capture.sources import SourceInfo
    from streamqa.config import Config
    from streamqa.hooks import Hooks
    from streamqa.metrics import Metrics
    from streamqa.model.pool import ModelChoice
    from streamqa.outlets import Outlets
    from streamqa.server.listen import Door
    from streamqa.service_settings import LogConfig, ServeConfig
    from streamqa.settings import ModelConfig
    from streamqa.sinks.base import Sink
    from streamqa.sinks.log import AnswerLog, LogSettings
    from streamqa.standing import Store
    from streamqa.types import Question

_NS_PER_MS = NS_PER_S // 1000


def command(
    config: Annotated[Path, typer.Argument(help="A YAML configuration")],
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve here, whatever the file says")
    ] = None,
    save: Annotated[
        bool,
        typer.Option("--save", help="Write changes made over the network into the file, not beside the log"),
    ] = False,
) -> None:
    """Run a configuration: watch its sources, answer its questions, serve subscribers, until Ctrl-C.

    What is changed over the network while it runs is kept beside the log, and applied again at the next start.
    """
    from streamqa.config import load_config

    loaded = load_config(config)
    for section in ("sources", "questions"):
        if (
            not getattr(loaded, section) and section not in loaded.model_fields_set
        ):  # `questions: {}` is meant
            raise ConfigError(f"{config}: needs at least one source and one question")
    serve(loaded, port=port, sinks=(StatusPrinter(sys.stderr),), save=config if save else None)


def serve(
    config: Config,
    *,
    port: int | None = None,
    sinks: Sequence[Sink] = (),
    for_s: float | None = None,
    on_ready: Callable[[str], None] | None = None,
    save: Path | None = None,
) -> None:
    """Run a configuration until a signal, or for `for_s` seconds; `on_ready` gets the page's address.

    Changes are written into the file `save`, or beside the log.

    Raises:
        ConfigError: the port is taken, or a source or the log is wrong.
        ModelError: the model cannot be loaded.
    """
    from streamqa.capture.reach import reach_of
    from streamqa.capture.resolve import check_source
    from streamqa.capture.sources import planned
    from streamqa.metrics import Metrics
    from streamqa.model.health import Health
    from streamqa.model.pool import start_model
    from streamqa.sinks.log import AnswerLog
    from streamqa.specs import source_specs

    reach = reach_of(config.serve.add)
    source_specs(config.sources, reach)  # a wrong one is told before anything is loaded
    stop, metrics = threading.Event(), Metrics()
    health = Health(metrics)
    with (
        closing(_door(config.serve, port)) as door,
        closing(AnswerLog(config.log.path, log_settings(config.log))) as log,
    ):
        store = _store(config, save)
        specs = source_specs(store.standing.watched(), reach)
        with (
            _outlets(config, log, metrics, reach, (planned(specs), store.standing.asked())) as (
                outlets,
                hooks,
            ),
            closing(start_model(model_choice(config.model), health)) as model,
        ):
            # Only now: while the model loads in its own process, this one reads its libraries.
            from streamqa.control import LineControl
            from streamqa.pipeline import Parts
            from streamqa.service import Handles, run_service

            parts = Parts(
                store.standing.asked(), specs, model, log, (*sinks, outlets), metrics, health,
                keep_evidence=log.keeps_evidence,
            )  # fmt: skip
            handles = Handles(LineControl(store, partial(check_source, reach), reach), outlets, hooks)
            with stop_on_signal(stop):  # a signal until here ends the command
                asyncio.run(
                    run_service(parts, door, stop, handles, for_s=for_s, on_ready=on_ready or _announce)
                )


@contextmanager
def _outlets(
    config: Config,
    log: AnswerLog,
    metrics: Metrics,
    reach: Reach,
    first: tuple[Sequence[SourceInfo], Sequence[Question]],
) -> Iterator[tuple[Outlets, Hooks]]:
    """The sinks of a configuration and the webhooks that were added before; closed at the end.

    `first`: what will be watched and asked, as far as is known before the model is loaded.
    """
    from streamqa.hooks import Hooks, Place
    from streamqa.outlets import Outlets
    from streamqa.sinks.outlet import Context

    with closing(Outlets(lambda: first)) as outlets:
        context = Context(
            metrics=metrics,
            epoch=log.epoch,
            evidence=log.evidence,
            describe=outlets.describe,
            pause=outlets.pause_as("local"),
            dead_letters=beside_log(config, "undelivered.db"),
            reach=reach,
        )
        outlets.open(config.sinks, context)
        hooks = Hooks(Place(beside_log(config, "webhooks.json"), reach), outlets, context)
        for note in hooks.notes:
            print(f"streamqa: {note}", file=sys.stderr)
        yield outlets, hooks


def beside_log(config: Config, suffix: str) -> Path | None:
    """A file beside the log; None: the log is in memory."""
    return None if config.log.path == ":memory:" else Path(f"{config.log.path}.{suffix}")


def _store(config: Config, save: Path | None) -> Store:
    """Where changes are kept, with what was changed before; says what that is."""
    from streamqa.standing import ChangesFile, Unsaved, as_configured

    if config.log.path == ":memory:" and save is None:
        return Unsaved(as_configured(config))
    if config.log.path == ":memory:":
        raise ConfigError(
            "--save keeps what is paused beside the log, and this log is in memory; set log.path"
        )
    changes = ChangesFile(Path(f"{config.log.path}.changes.json"), config)
    for note in changes.notes:
        print(f"streamqa: {note}", file=sys.stderr)
    if save is None:
        return changes
    from streamqa.yaml_save import ConfigurationFile

    return ConfigurationFile(save, config, changes)


def _door(serve: ServeConfig, port: int | None) -> Door:
    """The port of a configuration, bound and locked as it says."""
    from streamqa.config import read_tokens
    from streamqa.server.listen import listen
    from streamqa.server.locks import make_locks, open_to_listeners

    locks = make_locks(serve, read_tokens(serve))
    warning = open_to_listeners(serve)
    if warning is not None:
        print(f"streamqa: {warning}", file=sys.stderr)
    return listen(serve.host, serve.port if port is None else port, locks)


def log_settings(config: LogConfig) -> LogSettings:
    """What a configuration says about the log, as the log takes it."""
    from streamqa.sinks.log import LogSettings
    from streamqa.sinks.retention import Keeping
    from streamqa.sizes import parse_size

    evidence = Keeping(config.evidence // _NS_PER_MS, parse_size(config.evidence_size))
    return LogSettings(
        sync=config.sync,
        records=Keeping(config.keep // _NS_PER_MS or None, parse_size(config.size)),
        evidence=evidence if config.evidence else None,
    )


def model_choice(config: ModelConfig) -> ModelChoice:
    """The model of a configuration, as it is to be opened."""
    from streamqa.model.pool import ModelChoice

    folder = Path(config.path) if config.path else None
    return ModelChoice(config.name, folder, tuple(config.devices), config.isolate, config.precision)


def _announce(url: str) -> None:
    print(f"streamqa: serving {url}; the model is being loaded", file=sys.stderr)
