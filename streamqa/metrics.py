"""The counters of one running pipeline; `/metrics` shows them, tests read them.

One object per pipeline with a registry of its own, handed to whoever counts: there are no globals.
"""

from __future__ import annotations

from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

_LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Every queue's drops, every tick's fate, every latency."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        source, both = ["source"], ["source", "question"]
        self.frames_kept = self._counter("frames_kept", "Frames that the sampler kept", source)
        self.frames_dropped = self._counter("frames_dropped", "Kept frames replaced by a newer one", source)
        self.reconnects = self._counter("reconnects", "Connections lost or refused", source)
        self.source_live = Gauge(
            "streamqa_source_live", "1 while frames arrive", source, registry=self.registry
        )
        self.source_frozen = Gauge(
            "streamqa_source_frozen", "1 while all frames are identical", source, registry=self.registry
        )
        self.reads_left_behind = self._counter(
            "reads_left_behind", "Reads that hung for good, their threads given up", source
        )
        self.answers = self._counter("answers", "Answers given, by state", [*both, "state"])
        self.ticks_skipped = self._counter("ticks_skipped", "Ticks merged into a later answer", both)
        self.ticks_inactive = self._counter(
            "ticks_inactive", "Ticks in a pause or outside of active hours", both
        )
        self.answers_reused = self._counter("answers_reused", "Answers taken over, nothing had changed", both)
        self.gate_audits = self._counter("gate_audits", "Asked although nothing had changed", both)
        self.gate_disagreements = self._counter(
            "gate_disagreements", "Audits that said something else than would have been reused", both
        )
        self.deadlines_missed = self._counter(
            "deadlines_missed", "Frames answered after the source's next tick", source
        )
        self.batches_halved = self._counter("batches_halved", "Batches tried again in halves", ["cause"])
        self.batch_limit = Gauge("streamqa_batch_limit", "Pictures allowed at once", registry=self.registry)
        self.model_errors = self._counter("model_errors", "Batches that the model failed on", [])
        self.model_restarts = self._counter(
            "model_restarts", "Processes of the model that died and are back", []
        )
        self.model_seconds = self._histogram("model_seconds", "Time in the model, per batch")
        self.frame_to_answer_seconds = self._histogram(
            "frame_to_answer_seconds", "Decoded frame to its answer"
        )
        self.records_logged = self._counter("records_logged", "Records made durable", [])
        self._add_log()
        self._add_wire()

    def forget(self, source: str) -> None:
        """Drop everything that was counted for a source that is gone."""
        self._forget("source", source)

    def forget_question(self, question: str) -> None:
        """Drop everything that was counted for a question that is gone."""
        self._forget("question", question)

    def _add_log(self) -> None:
        self.log_append_seconds = self._histogram("log_append_seconds", "Time to make records durable")
        self.log_full = Gauge("streamqa_log_full", "1 while records cannot be kept", registry=self.registry)
        self.records_not_kept = self._counter("records_not_kept", "Records delivered and not kept", [])
        self.records_deleted = self._counter("records_deleted", "Records deleted, by retention", [])
        self.log_bytes = Gauge("streamqa_log_bytes", "Size of the records kept", registry=self.registry)
        self.evidence_kept = self._counter("evidence_kept", "Pictures kept as evidence", [])
        self.evidence_failed = self._counter("evidence_failed", "Pictures that could not be written", [])
        self.evidence_dropped = self._counter(
            "evidence_dropped", "Pictures given up since too many waited", []
        )
        self.evidence_deleted = self._counter("evidence_deleted", "Pictures deleted, by retention", [])
        self.evidence_bytes = Gauge("streamqa_evidence_bytes", "Size of all pictures", registry=self.registry)

    def _add_wire(self) -> None:
        self.subscribers = Gauge("streamqa_subscribers", "Open websocket connections", registry=self.registry)
        self.event_streams = Gauge(
            "streamqa_event_streams", "Open streams of server-sent events", registry=self.registry
        )
        self.http_aborted = self._counter("http_aborted", "HTTP connections cut off: they took no byte", [])
        self.messages_sent = self._counter("messages_sent", "Messages written to subscribers", [])
        self.messages_received = self._counter("messages_received", "Messages from clients", [])
        self.messages_held_back = self._counter(
            "messages_held_back", "Waits for clients that talk too fast", []
        )
        self.records_replayed = self._counter(
            "records_replayed", "Records read from the log for subscribers", []
        )
        self.flush_seconds = self._histogram("flush_seconds", "Time to write a burst to all subscribers")
        self.messages_dropped = self._counter("messages_dropped", "Messages a slow subscriber missed", [])
        self.requests_refused = self._counter(
            "requests_refused", "Requests and handshakes not let in, by reason", ["why"]
        )
        self.subscribers_aborted = self._counter("subscribers_aborted", "Stalled connections cut off", [])

    def _forget(self, label: str, value: str) -> None:
        for metric in vars(self).values():
            if isinstance(metric, MetricWrapperBase):
                with suppress(ValueError):  # it has no such label
                    metric.remove_by_labels({label: value})

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"streamqa_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"streamqa_{name}", text, registry=self.registry, buckets=_LATENCY_BUCKETS_S)
