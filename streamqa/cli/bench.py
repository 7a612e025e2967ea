"""`streamqa bench`: measure again what the README claims; alone the quick figures, its sub-commands one part each."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from streamqa.durations import parse_duration
from streamqa.errors import ConfigError

app = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


@app.callback(invoke_without_command=True)
def quick(
    context: typer.Context,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds of each figure; the best counts")] = 3,
    live: Annotated[float, typer.Option(min=2, max=3600, help="Seconds to watch the live scene")] = 20.0,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write the result as JSON")] = None,
) -> None:
    """Measure start-up, the first answer, recordings and live watching, with the embedded model on this machine.

    The sub-commands measure one part each, and have options of their own.
    """
    if context.invoked_subcommand is not None:
        return
    from streamqa.bench.quick import machine, measure, report

    where = machine()
    typer.echo(f"{where.processor}, {where.cores} cores, Python {where.python}, load {where.load_average}")
    figures = measure(rounds, live)
    for figure in figures:
        typer.echo(f"{figure.value:8.2f} {figure.unit:<12} {figure.name:<38} {figure.command}")
    if out is not None:
        out.write_text(json.dumps(report(figures, where), indent=1) + "\n", encoding="utf-8")


@app.command("pipeline")
def pipeline(
    cameras: Annotated[
        int, typer.Option(min=1, max=256, help="How many, each an H.264 clip played live")
    ] = 8,
    questions: Annotated[int, typer.Option(min=1, max=64, help="On every frame")] = 4,
    cost: Annotated[str, typer.Option(help="What the model takes for a frame")] = "20ms",
    batch_cost: Annotated[str, typer.Option(help="And for a batch, whatever its size")] = "0ms",
    seconds: Annotated[float, typer.Option(min=0.5, max=3600, help="Of each measured run")] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="The median counts")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write the result as JSON")] = None,
) -> None:
    """Measure what the line costs beside the model: capture to subscriber, the model replaced by a fixed cost."""
    from streamqa.bench.pipeline import Settings, measure

    cost_ms, batch_cost_ms = _milliseconds("--cost", cost), _milliseconds("--batch-cost", batch_cost)
    settings = Settings(cameras, questions, cost_ms, batch_cost_ms, seconds, rounds)
    _show(measure(settings, _progress), as_json, out)


@app.command("growth")
def growth(
    frames: Annotated[
        int, typer.Option(min=10, max=10**7, help="Whose memory is watched, after as many to warm up")
    ] = 10_000,
    point: Annotated[
        int, typer.Option(min=80, max=10**6, help="Frames of each camera of every other run")
    ] = 800,
    model: Annotated[str, typer.Option(help="Whose cost of a question to measure")] = "tiny",
    rounds: Annotated[int, typer.Option(min=1, max=50, help="The median counts")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write the result as JSON")] = None,
) -> None:
    """Measure what one more question, one more camera and ten thousand more frames cost, memory included."""
    from streamqa.bench.growth import Settings, measure

    _show(
        measure(Settings(frames=point, long_run=2 * frames, model=model, rounds=rounds), _progress),
        as_json,
        out,
    )


@app.command("gate")
def gate(
    threshold: Annotated[
        list[float] | None, typer.Option(help="Of the change measure; may be given again")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Of each round's clip")] = 60.0,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="A scene each; the median counts")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write the result as JSON")] = None,
) -> None:
    """Measure what the change gate saves and gets wrong, with the embedded model on its own scenes."""
    from streamqa.bench.gate import Settings, measure
    from streamqa.cli.demo import demo_config

    settings = Settings(seconds=seconds, rounds=rounds)
    if threshold:
        settings = Settings(tuple(threshold), seconds, rounds)
    _show(measure(settings, demo_config(), _progress), as_json, out)


@app.command("fanout")
def fanout(
    subscribers: Annotated[
        list[int] | None, typer.Option(min=1, max=15_000, help="May be given again; default: 200, 1000, 5000")
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(help="steady, fast, stalled or log; may be given again; default: all"),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="The median counts")] = 3,
    pairs: Annotated[int, typer.Option(min=1, max=50, help="With and without clients that do not read")] = 5,
    as_table: Annotated[bool, typer.Option("--table", help="The result as the README's tables")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write the result as JSON")] = None,
) -> None:
    """Measure fan-out to many subscribers beside `websockets.broadcast` and FastAPI with queues, and coming back."""
    from streamqa.bench.fanout import PARTS, Settings, measure
    from streamqa.bench.fanout_rows import markdown

    unknown = sorted(set(part or ()) - set(PARTS))
    if unknown:
        raise ConfigError(f"--part {unknown[0]}: no such part; there are: {', '.join(PARTS)}")
    sizes = tuple(subscribers or (200, 1000, 5000))
    result = measure(Settings(tuple(part or PARTS), sizes, rounds, pairs), _progress)
    text = json.dumps(result, indent=1)
    typer.echo(text if as_json or not as_table else markdown(result))
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")


@app.command("capture")
def capture(
    part: Annotated[
        list[str] | None,
        typer.Option(help="recorded, live, cameras or outages; may be given again; default: all"),
    ] = None,
    seconds: Annotated[float, typer.Option(min=2, max=120, help="Of each clip and of each run")] = 20.0,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="The median counts")] = 3,
    cameras: Annotated[int, typer.Option(min=1, max=100, help="How many at once, in that part")] = 16,
    reconnects: Annotated[int, typer.Option(min=0, max=10_000, help="Whose growth is measured")] = 200,
    clips: Annotated[
        Path | None, typer.Option(help="A folder to keep the clips in; making them takes two minutes")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout")] = False,
    as_table: Annotated[bool, typer.Option("--table", help="The result as a Markdown table")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write the result as JSON")] = None,
) -> None:
    """Measure what a frame per second of recordings and cameras costs, and how soon an outage is told and over.

    Costs are told as parts of what `ffmpeg` takes to decode everything. No model is asked.
    """
    from streamqa.bench.capture import PARTS, Settings, markdown, measure

    result = measure(Settings(tuple(part or PARTS), seconds, rounds, cameras, reconnects, clips), _progress)
    if as_table:
        _keep(result, out)
        typer.echo(markdown(result))
    else:
        _show(result, as_json, out)


@app.command("answers")
def answers(
    part: Annotated[
        list[str] | None,
        typer.Option(help="kinds, window, events or scoring; may be given again; default: all"),
    ] = None,
    scenes: Annotated[int, typer.Option(min=1, max=100_000, help="Static scenes whose answers count")] = 1200,
    stills: Annotated[int, typer.Option(min=1, max=10_000, help="Scenes under noise, for windows")] = 80,
    streams: Annotated[int, typer.Option(min=1, max=100, help="Of ten minutes with 20 events each")] = 3,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Of scoring; the median counts")] = 20,
    size: Annotated[str, typer.Option(help="Of scoring's moondream2: full, or small to try it")] = "full",
    as_table: Annotated[bool, typer.Option("--table", help="The result as the README's tables")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write the result as JSON")] = None,
) -> None:
    """Measure how often closed answers are true, what windows gain, whether events alert, and what scoring costs."""
    from streamqa.bench.answers import PARTS, Settings, markdown, measure

    parts = tuple(part or PARTS)
    settings = Settings(parts, scenes=scenes, stills=stills, streams=streams, rounds=rounds, size=size)
    result = measure(settings, _progress)
    if as_table:
        _keep(result, out)
        typer.echo(markdown(result))
    else:
        _show(result, as_json, out)


def _milliseconds(option: str, text: str) -> float:
    try:
        return parse_duration(text) / 1e6
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(result: dict[str, Any], as_json: bool, out: Path | None) -> None:
    """Print a result, as a table or as JSON, and keep it where that was asked for."""
    from streamqa.bench.figures import table

    _keep(result, out)
    typer.echo(json.dumps(result, indent=1) if as_json else table(result))


def _keep(result: dict[str, Any], out: Path | None) -> None:
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


@app.command("engine")
def engine(
    crops: Annotated[list[int] | None, typer.Option(help="1 or 9; repeat for both")] = None,
    questions: Annotated[list[int] | None, typer.Option(help="Questions of each frame; repeatable")] = None,
    answer_tokens: Annotated[list[int] | None, typer.Option(help="0: yes or no, scored; repeatable")] = None,
    frames_in_flight: Annotated[list[int] | None, typer.Option(help="Frames of a batch; repeatable")] = None,
    draft_acceptance: Annotated[list[float] | None, typer.Option(help="1 or 0; repeat for both")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="bf16 or fp32; default: the machine's best")] = None,
    whole: Annotated[bool, typer.Option("--all", help="The whole grid, on a CPU too (hours)")] = False,
    kestrel: Annotated[bool, typer.Option(help="Also the Kestrel-shaped row")] = False,
    approximate: Annotated[
        bool, typer.Option(help="Also detail: fast and 8 bits, with what they change")
    ] = False,
    rounds: Annotated[int, typer.Option(min=2, max=100, help="Rounds of each row")] = 5,
    minutes: Annotated[float, typer.Option(min=0, help="No more rounds after these")] = 10.0,
    size: Annotated[str, typer.Option(help="full, or small to try the bench itself")] = "full",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Also write it, to a file or folder")
    ] = None,
) -> None:
    """Frames, answers and TFLOP per second of moondream2 with random weights, against a plain baseline.

    Options that name an axis of the grid select its rows; without any, a CPU measures a short list of them.
    """
    from streamqa.bench.engine import Settings, run
    from streamqa.bench.grid import Selection
    from streamqa.bench.table import markdown, result_name

    selection = Selection(
        tuple(crops or ()),
        tuple(questions or ()),
        tuple(answer_tokens or ()),
        tuple(frames_in_flight or ()),
        tuple(draft_acceptance or ()),
        whole=whole,
        kestrel=kestrel,
        approximate=approximate,
    )
    result = run(
        Settings(selection, tuple(dtype or ()), rounds, minutes, size),
        lambda line: typer.echo(line, err=True),
    )
    text = json.dumps(result, indent=1)
    typer.echo(text if as_json else markdown([result]))
    if out is not None:
        target = out / result_name(result) if out.is_dir() else out
        target.write_text(text + "\n", encoding="utf-8")


@app.command("table")
def table(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Results; default: those of this package")
    ] = None,
) -> None:
    """Results of `bench engine` as the tables of the README."""
    from streamqa.bench.table import committed, markdown, read

    typer.echo(markdown(read(files or committed())))
