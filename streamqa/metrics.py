"""The counters of one running pipeline; `/metrics` shows them, tests read them.

One object per pipeline with a registry of its own, handed to whoever counts: there are no globals. Names end in
their unit; what is counted by source or by question is forgotten with it, so that the page does not grow for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics import MetricWrapperBase

from streamqa.version import __version__

# Of what people wait for, and of what should take no time at all.
_LONG_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SHORT_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_COUNTS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Every queue's drops, every tick's fate, every latency."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.build = Info("streamqa_build", "What runs here", registry=self.registry)
        self.build.info({"version": __version__})
        self.loop_lag_seconds = self._histogram(
            "loop_lag_seconds", "How late the event loop of the server comes round", _SHORT_S
        )
        self._add_capture()
        self._add_engine()
        self._add_questions()
        self._add_sinks()
        self._add_log()
        self._add_wire()
        self._add_http()

    def forget(self, source: str) -> None:
        """Drop everything that was counted for a source that is gone."""
        self._forget("source", source)

    def forget_question(self, question: str) -> None:
        """Drop everything that was counted for a question that is gone."""
        self._forget("question", question)

    def forget_sink(self, sink: str) -> None:
        """Drop everything that was counted for an output that is gone."""
        self._forget("sink", sink)

    def _add_capture(self) -> None:
        source = ["source"]
        self.pictures_read = self._counter("pictures_read", "Pictures that a source gave", source)
        self.frames_kept = self._counter("frames_kept", "Frames that the sampler kept", source)
        self.frames_dropped = self._counter("frames_dropped", "Kept frames replaced by a newer one", source)
        self.frame_convert_seconds = self._histogram(
            "frame_convert_seconds", "A kept picture from its arrival to its pixels, masked", _SHORT_S
        )
        self.frame_delay_seconds = self._histogram(
            "frame_delay_seconds",
            "How much later than others a kept picture came, where known",
            _LONG_S,
            source,
        )
        self.reconnects = self._counter("reconnects", "Connections lost or refused", source)
        self.source_live = self._gauge("source_live", "1 while frames arrive", source)
        self.source_frozen = self._gauge("source_frozen", "1 while all frames are identical", source)
        self.reads_left_behind = self._counter(
            "reads_left_behind", "Reads that hung for good, their threads given up", source
        )

    def _add_engine(self) -> None:
        both = ["source", "question"]
        self.buffer_wait_seconds = self._histogram(
            "buffer_wait_seconds", "Live frames from their arrival to their batch", _LONG_S
        )
        self.batch_pictures = self._histogram(
            "batch_pictures", "Pictures that go to the model at once", _COUNTS
        )
        self.batch_limit = self._gauge("batch_limit", "Pictures allowed at once")
        self.batches_halved = self._counter("batches_halved", "Batches tried again in halves", ["cause"])
        self.model_seconds = self._histogram("model_seconds", "Time in the model, per batch", _LONG_S)
        self.model_errors = self._counter("model_errors", "Batches that the model failed on")
        self.model_restarts = self._counter("model_restarts", "Processes of the model that died and are back")
        self.answers = self._counter("answers", "Answers given, by state", [*both, "state"])
        self.answers_reused = self._counter("answers_reused", "Answers taken over, nothing had changed", both)
        self.ticks_skipped = self._counter("ticks_skipped", "Ticks merged into a later answer", both)
        self.ticks_inactive = self._counter(
            "ticks_inactive", "Ticks in a pause or outside of active hours", both
        )
        self.gate_audits = self._counter("gate_audits", "Asked although nothing had changed", both)
        self.gate_disagreements = self._counter(
            "gate_disagreements", "Audits that said something else than would have been reused", both
        )
        self.deadlines_missed = self._counter(
            "deadlines_missed", "Frames answered after the source's next tick", ["source"]
        )
        self.frame_to_answer_seconds = self._histogram(
            "frame_to_answer_seconds", "Decoded frame to its answer", _LONG_S
        )
        self.single_questions = self._counter(
            "single_questions", "Requests beside the standing questions, by outcome", ["outcome"]
        )
        self.single_question_seconds = self._histogram(
            "single_question_seconds", "A single request to the model, its wait included", _LONG_S
        )

    def _add_questions(self) -> None:
        both = ["source", "question"]
        self.answer_flips = self._counter(
            "answer_flips", "Answers that decided something else than the last decision", both
        )
        self.answer_seconds = self._histogram(
            "answer_seconds", "Decoded frame to its answer, by question", _LONG_S, ["question"]
        )
        self.alerts = self._counter("alerts", "Alerts, by what became of them", [*both, "severity", "phase"])
        self.alerts_open = self._gauge("alerts_open", "Alerts that are open", both)
        self.alerts_held_back = self._counter(
            "alerts_held_back", "Conditions met in a cooldown or outside of the rule's hours", both
        )

    def _add_sinks(self) -> None:
        sink = ["sink"]
        self.sink_up = self._gauge("sink_up", "1 while an output takes what it is given", sink)
        self.sink_queued = self._gauge("sink_queued", "Messages that wait for an output", sink)
        self.sink_delivered = self._counter("sink_delivered", "Messages that an output took", sink)
        self.sink_dropped = self._counter("sink_dropped", "Messages given up for an output", sink)
        self.sink_replaced = self._counter(
            "sink_replaced", "States that a newer one replaced before an output took them", sink
        )
        self.sink_commands_ignored = self._counter(
            "sink_commands_ignored", "Commands over an output that nothing could be done with", sink
        )
        self.sink_failures = self._counter("sink_failures", "Attempts that an output failed", sink)

    def _add_log(self) -> None:
        self.records_logged = self._counter("records_logged", "Records made durable")
        self.log_append_seconds = self._histogram(
            "log_append_seconds", "Time to make records durable", _SHORT_S
        )
        self.log_full = self._gauge("log_full", "1 while records cannot be kept")
        self.records_not_kept = self._counter("records_not_kept", "Records delivered and not kept")
        self.records_deleted = self._counter("records_deleted", "Records deleted, by retention")
        self.log_bytes = self._gauge("log_bytes", "Size of the records kept")
        self.evidence_kept = self._counter("evidence_kept", "Pictures kept as evidence")
        self.evidence_failed = self._counter("evidence_failed", "Pictures that could not be written")
        self.evidence_dropped = self._counter(
            "evidence_dropped", "Pictures given up since too many waited", []
        )
        self.evidence_deleted = self._counter("evidence_deleted", "Pictures deleted, by retention")
        self.evidence_bytes = self._gauge("evidence_bytes", "Size of all pictures")

    def _add_wire(self) -> None:
        self.subscribers = self._gauge("subscribers", "Open websocket connections")
        self.event_streams = self._gauge("event_streams", "Open streams of server-sent events")
        self.http_aborted = self._counter("http_aborted", "HTTP connections cut off: they took no byte")
        self.messages_sent = self._counter("messages_sent", "Messages written to subscribers")
        self.messages_received = self._counter("messages_received", "Messages from clients")
        self.messages_held_back = self._counter(
            "messages_held_back", "Waits for clients that talk too fast", []
        )
        self.records_replayed = self._counter(
            "records_replayed", "Records read from the log for subscribers", []
        )
        self.flush_seconds = self._histogram(
            "flush_seconds", "Time to write a burst to all subscribers", _SHORT_S
        )
        self.capture_to_delivery_seconds = self._histogram(
            "capture_to_delivery_seconds",
            "Live picture from its capture to the write of its answer to subscribers",
            _LONG_S,
            ["source"],
        )
        self.messages_dropped = self._counter("messages_dropped", "Messages a slow subscriber missed")
        self.requests_refused = self._counter(
            "requests_refused", "Requests and handshakes not let in, by reason", ["why"]
        )
        self.subscribers_aborted = self._counter("subscribers_aborted", "Stalled connections cut off")

    def _add_http(self) -> None:
        self.http_requests = self._counter(
            "http_requests", "HTTP requests answered, by route", ["method", "route", "status"]
        )
        self.http_request_seconds = self._histogram(
            "http_request_seconds", "Time to the first byte of a response, by route", _SHORT_S, ["route"]
        )

    def _forget(self, label: str, value: str) -> None:
        for metric in vars(self).values():
            if isinstance(metric, MetricWrapperBase):
                with suppress(ValueError):  # it has no such label
                    metric.remove_by_labels({label: value})

    def _counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(f"streamqa_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(f"streamqa_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()
    ) -> Histogram:
        return Histogram(f"streamqa_{name}", text, labels, registry=self.registry, buckets=buckets)
