"""`streamqa ask`: put questions to recordings, or to a camera, and print the answers."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamqa.cli.absent import Absent
from streamqa.cli.output import AnswerPrinter, Format, StatusPrinter, default_format
from streamqa.cli.signals import stop_on_signal
from streamqa.errors import EXIT_INTERRUPTED, ConfigError, StreamQAError

if TYPE_CHECKING:
    from streamqa.capture.source import SourceSpec
    from streamqa.config import Config
    from streamqa.model.pool import ModelChoice
    from streamqa.types import Question

_TROUBLE = frozenset({"stalled", "frozen", "reconnecting", "refused"})


def command(
    sources: Annotated[list[str], typer.Argument(help="Files, folders, rtsp://…, webcam:0, scene:gate")],
    question: Annotated[
        list[str] | None, typer.Option("-q", "--question", help="A question; repeatable")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Take the questions (and the model) of this file")
    ] = None,
    model: Annotated[str | None, typer.Option(help="tiny or moondream2")] = None,
    model_path: Annotated[Path | None, typer.Option(help="Folder with the weights")] = None,
    kind: Annotated[str, typer.Option(help="text, yes_no, choice, number, caption, points, boxes")] = "text",
    choices: Annotated[str, typer.Option(help="The closed list of kind choice, as a,b,c")] = "",
    every: Annotated[str, typer.Option(help="How often to ask: 500ms, 2s, 1m")] = "1s",
    form: Annotated[Format | None, typer.Option("--format", help="How to print")] = None,
    every_answer: Annotated[bool, typer.Option(help="Print every answer, not only changes")] = False,
    isolate: Annotated[
        bool, typer.Option("--isolate", help="Run the model in a process of its own, as several devices do")
    ] = False,
) -> None:
    """Ask questions of files or cameras and print the answers.

    Answers go to stdout, all else to stderr. Without --every-answer only changes are printed. A camera that cannot be
    reached at the first try ends it, with exit code 3; one that is lost later is waited for.
    """
    from streamqa.capture.source import kind_of

    loaded = _load(config)
    questions = _from_config(loaded) if loaded else _from_options(question, kind, choices, every)
    if loaded and question:
        raise ConfigError("-q and --config both give questions; use one of them")
    specs = name_sources(sources)
    for spec in specs:
        kind_of(spec.url)
    chosen = _choose(loaded, model, model_path, isolate)
    printer = AnswerPrinter(form or default_format(), sys.stdout, every=every_answer)
    failures, interrupted = _answer(questions, specs, chosen, printer)
    for failure in failures.values():
        print(f"streamqa: {failure}", file=sys.stderr)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if failures:
        raise typer.Exit(max(failure.exit_code for failure in failures.values()))


def name_sources(urls: Sequence[str]) -> tuple[SourceSpec, ...]:
    """Give each URL or path an id: a file's name, or the URL's kind; a number is added where two are alike."""
    from streamqa.capture.source import SourceSpec

    specs: list[SourceSpec] = []
    taken: set[str] = set()
    for url in urls:
        scheme = re.match(r"([a-z]+)://", url, re.IGNORECASE)  # of a URL no more: it may hold a password
        base = scheme[1].lower() if scheme else Path(url).name
        base = re.sub(r"[^A-Za-z0-9_.-]+", "-", base).strip("-.")[:50] or "source"
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name)
        specs.append(SourceSpec(id=name, url=url))
    return tuple(specs)


def _choose(config: Config | None, name: str | None, folder: Path | None, isolate: bool) -> ModelChoice:
    """The model: the command line's, else the file's, else moondream2."""
    from streamqa.cli.serve import model_choice
    from streamqa.settings import ModelConfig

    usual = config.model if config and not name else ModelConfig(name=name or "moondream2")
    choice = model_choice(usual)
    return replace(choice, directory=folder or choice.directory, isolate=isolate or len(choice.devices) > 1)


def _load(path: Path | None) -> Config | None:
    from streamqa.config import load_config

    return load_config(path) if path else None


def _from_config(config: Config) -> tuple[Question, ...]:
    """The file's questions, asked of whatever sources the command line names."""
    questions = tuple(replace(question, sources=None) for question in config.standing())
    if not questions:
        raise ConfigError("the configuration has no questions; add some under `questions:`")
    return questions


def _from_options(texts: Sequence[str] | None, kind: str, choices: str, every: str) -> tuple[Question, ...]:
    from streamqa.config import questions_from_texts

    if not texts:
        raise ConfigError('no question; give one with -q "…" or a file with --config')
    listed = [choice.strip() for choice in choices.split(",")] if choices else []
    return questions_from_texts(texts, kind, listed, every)


def _answer(
    questions: tuple[Question, ...],
    specs: tuple[SourceSpec, ...],
    model: ModelChoice,
    printer: AnswerPrinter,
) -> tuple[dict[str, StreamQAError], bool]:
    """Run the line over the sources; returns what failed, and whether the user stopped it."""
    from streamqa.metrics import Metrics
    from streamqa.model.health import Health
    from streamqa.model.pool import start_model
    from streamqa.pipeline import Parts
    from streamqa.recorded import answer_all
    from streamqa.sinks.log import AnswerLog

    stop, metrics = threading.Event(), Metrics()
    health = Health(metrics)
    with closing(start_model(model, health)) as loaded, closing(AnswerLog(":memory:")) as log:
        if loaded.info.note:
            print(f"streamqa: {loaded.info.label}: {loaded.info.note}", file=sys.stderr)
        absent = Absent((spec.id for spec in specs), stop)
        sinks = (printer, StatusPrinter(sys.stderr, _TROUBLE), absent, _StopWhenClosed(printer, stop))
        started_s = time.monotonic()
        with stop_on_signal(stop):
            failures = answer_all(Parts(questions, specs, loaded, log, sinks, metrics, health), stop)
        _sum_up(printer, time.monotonic() - started_s)
    return absent.failures | failures, stop.is_set() and not printer.closed and not absent.gave_up


def _sum_up(printer: AnswerPrinter, took_s: float) -> None:
    video_s = sum(printer.seconds.values())
    rate = f", {video_s / took_s:.1f} × real time" if took_s > 0 else ""
    print(
        f"streamqa: {printer.answers} answers on {video_s:.1f} s of video in {took_s:.1f} s{rate}",
        file=sys.stderr,
    )


class _StopWhenClosed:
    """A sink that stops the line when nobody reads the output any more (`| head`)."""

    def __init__(self, printer: AnswerPrinter, stop: threading.Event) -> None:
        self._printer, self._stop = printer, stop

    def write(self, records: object) -> None:
        if self._printer.closed:
            self._stop.set()

    def close(self) -> None:
        """Nothing is held."""
