"""`streamqa calibrate`: how right are the answers on labelled footage, and which settings would be better?"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamqa.cli.output import printable
from streamqa.cli.signals import stop_on_signal
from streamqa.errors import EXIT_INTERRUPTED, ConfigError

if TYPE_CHECKING:
    from streamqa.config import Config
    from streamqa.evaluate.choosing import Calibrated
    from streamqa.evaluate.replay import Labelled, Replayed, Worded


def command(
    config: Annotated[Path, typer.Argument(help="A YAML configuration")],
    labels: Annotated[Path, typer.Option(help="What is true: a CSV file of source,from,to,question,value")],
    footage: Annotated[
        list[str] | None, typer.Option(metavar="ID=FILE", help="The recording of a live source; repeatable")
    ] = None,
    question: Annotated[
        list[str] | None, typer.Option("-q", "--question", metavar="ID", help="Only this one; repeatable")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Write the reliability diagrams into this file")] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write what is chosen into the configuration")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout")] = False,
) -> None:
    """Replay labelled footage: how right are a configuration's answers, and what would be better?

    Sources in the labels are files, relative to the labels, or ids of the configuration. Each recording is read once,
    with the questions in all their wordings (`ask`, `variants`); thresholds and windows are arithmetic over that.
    Exits 2 when labels or configuration are wrong, 3 when a recording fails (then nothing is applied).
    """
    read = _read(config, "a YAML configuration")
    loaded, worded = _questions(config, question or [])
    labelled = _labelled(labels, loaded, worded, footage or [], bool(question))
    replayed = _replay(loaded, worded, labelled)
    for failure in replayed.failures.values():
        _say(str(failure))
    results = _calibrated(labels, worded, labelled, replayed)
    if png is not None and results:
        _draw(png, results)
    _show(results, len(labelled.labels), as_json)
    if replayed.failures:
        raise typer.Exit(max(failure.exit_code for failure in replayed.failures.values()))
    if apply:
        _apply(config, read, loaded, results)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give {what}") from None


def _questions(path: Path, wanted: Sequence[str]) -> tuple[Config, tuple[Worded, ...]]:
    """The configuration, and its questions, or those that are wanted, with their wordings."""
    from streamqa.config import load_config
    from streamqa.evaluate.replay import Worded

    loaded = load_config(path)
    for name in wanted:
        if name not in loaded.questions:
            there = ", ".join(loaded.questions) or "none"
            raise ConfigError(f"--question {name}: there is no such question; there are: {there}")
    return loaded, tuple(
        Worded(item.question(name), tuple(dict.fromkeys((item.ask, *item.variants))))
        for name, item in loaded.questions.items()
        if name in wanted or not wanted
    )


def _labelled(
    path: Path, config: Config, worded: Sequence[Worded], footage: Sequence[str], skip_others: bool
) -> Labelled:
    from streamqa.capture.reach import reach_of
    from streamqa.evaluate.footage import Footage, parse_stand_ins
    from streamqa.evaluate.labels import Known, parse_labels
    from streamqa.evaluate.replay import Labelled
    from streamqa.specs import source_specs

    specs = source_specs(config.sources, reach_of(config.serve.add))
    recordings = Footage(path.parent, specs, parse_stand_ins(footage))
    known = Known({one.question.id: one.question for one in worded}, recordings.find, skip_others)
    found = parse_labels(_read(path, "a CSV file of labels"), str(path), known)
    return Labelled(found, recordings.specs)


def _replay(config: Config, worded: Sequence[Worded], labelled: Labelled) -> Replayed:
    from streamqa.cli.serve import model_choice
    from streamqa.evaluate.replay import Line, replay
    from streamqa.metrics import Metrics
    from streamqa.model.health import Health
    from streamqa.model.pool import start_model

    stop, metrics = threading.Event(), Metrics()
    health, choice = Health(metrics), model_choice(config.model)
    # As `ask`: a process of its own is worth its start only where there are several devices.
    with closing(start_model(replace(choice, isolate=len(choice.devices) > 1), health)) as model:
        if model.info.note:
            _say(f"{model.info.label}: {model.info.note}")
        with stop_on_signal(stop):
            replayed = replay(worded, labelled, Line(model, metrics, health), stop, _say)
    if stop.is_set():
        raise typer.Exit(EXIT_INTERRUPTED)
    return replayed


def _calibrated(
    path: Path, worded: Sequence[Worded], labelled: Labelled, replayed: Replayed
) -> list[Calibrated]:
    """Every question of which a tick is labelled; labels without one are told.

    Raises:
        ConfigError: no label has a tick, and no recording failed.
    """
    from streamqa.evaluate.choosing import calibrate
    from streamqa.evaluate.replay import without_ticks

    for label in without_ticks(labelled.labels, replayed):
        _say(f"{path}:{label.line}: {label.question} was not read in this stretch of {label.source}")
    results = []
    for question, _ in worded:
        material = replayed.tracks[question.id]
        if any(track.labelled for track in material[question.ask]):
            results.append(calibrate(question, material))
    if not results and not replayed.failures:
        raise ConfigError(
            f"{path}: no label covers a tick of its question; compare the times with the recording"
        )
    return results


def _draw(path: Path, results: Sequence[Calibrated]) -> None:
    from streamqa.evaluate.diagram import diagram
    from streamqa.evaluate.report import panels

    try:
        path.write_bytes(diagram(panels(results)))
    except OSError as error:
        raise ConfigError(f"--png {path}: cannot be written ({error.strerror}); name another file") from None


def _show(results: Sequence[Calibrated], labels: int, in_json: bool) -> None:
    from streamqa.evaluate.report import as_json, table

    if in_json:
        typer.echo(json.dumps(as_json(results, labels), indent=1))
        return
    for line in table(results):
        typer.echo(printable(line))


def _apply(path: Path, read: bytes, config: Config, results: Sequence[Calibrated]) -> None:
    from streamqa.evaluate.report import described, settings
    from streamqa.yaml_save import save_questions

    changed = [one for one in results if one.is_changed]
    if not changed:
        _say(f"{path} is as it was: nothing better was found")
        return
    items = {one.question.id: settings(config.questions[one.question.id], one.chosen) for one in changed}
    save_questions(path, read, config, items)
    for one in changed:
        worded = f', asked "{one.chosen.ask}"' if one.chosen.ask != one.question.ask else ""
        _say(f"{path}: {one.question.id}: {described(one.chosen.on(one.question))}{worded}")


def _say(text: str) -> None:
    print(f"streamqa: {printable(text)}", file=sys.stderr)
