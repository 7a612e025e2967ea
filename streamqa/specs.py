"""From the settings of a source to what capture takes."""

from __future__ import annotations

from collections.abc import Mapping

from streamqa.capture.reach import Reach, reach_of
from streamqa.capture.source import SourceSpec, kind_of
from streamqa.errors import ConfigError
from streamqa.service_settings import ReachConfig
from streamqa.settings import SourceConfig
from streamqa.types import NS_PER_S


def source_specs(sources: Mapping[str, SourceConfig], reach: Reach | None = None) -> tuple[SourceSpec, ...]:
    """The sources of a configuration as capture knows them; `reach`: of those that are guarded.

    Raises:
        ConfigError: a URL is of no known kind.
    """
    return tuple(source_spec(name, item, reach) for name, item in sources.items())


def source_spec(name: str, item: SourceConfig, reach: Reach | None = None) -> SourceSpec:
    """A source of a configuration as capture knows it; `reach`: None stands for public addresses only.

    Raises:
        ConfigError: its URL is of no known kind.
    """
    try:
        kind_of(item.url)
    except ConfigError as error:
        raise ConfigError(f"sources.{name}: {error}") from None
    width, _, height = (item.size or "").partition("x")
    return SourceSpec(
        id=name,
        url=item.url,
        pace=item.pace or "auto",
        loop=item.loop,
        priority=item.priority,
        detail=item.detail,
        zone=item.zone,
        masks=tuple(item.mask),
        when=item.when,
        stall_after_s=item.stall_after / NS_PER_S,
        frozen_after_s=None if item.frozen_after is None else item.frozen_after / NS_PER_S,
        transport=item.transport,
        tls_verify=item.tls_verify,
        hwaccel=item.hwaccel,
        size=(int(width), int(height)) if item.size else None,
        fps=item.fps,
        fourcc=item.fourcc,
        watch=item.watch,
        interval_ns=item.interval,
        recent_s=item.recent / NS_PER_S,
        reach=(reach or reach_of(ReachConfig())) if item.guarded else None,
    )
