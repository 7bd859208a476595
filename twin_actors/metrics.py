"""What operators watch: every instrument is a row of one table, and nothing else is measured.

Only the OpenTelemetry API is used. Where the app configures no SDK, a call does nothing; where it does, its exporter
gets these. They carry the partition and no twin: a fleet does not multiply them.
"""

from collections.abc import Callable, Mapping

import msgspec
from opentelemetry.metrics import MeterProvider, get_meter


class Metric(msgspec.Struct, frozen=True):
    """An instrument: counters add up, gauges say how it is now, histograms how it is spread."""

    name: str
    kind: str
    unit: str
    description: str


FOLDED = Metric("twinfold.messages.folded", "counter", "{message}", "Messages folded into twins")
DUPLICATES = Metric("twinfold.messages.duplicates", "counter", "{message}", "Events skipped: they were folded before")
RESENT = Metric("twinfold.messages.resent", "counter", "{message}", "Messages that a device sent again under their id")
FORWARDED = Metric("twinfold.messages.forwarded", "counter", "{message}", "Messages sent on to the home of their twin")
DEAD_LETTERS = Metric("twinfold.dead_letters", "counter", "{message}", "Messages that could not be folded")
HEALED = Metric("twinfold.gaps.healed", "counter", "{message}", "Events that the trigger skipped, read again")
LOST = Metric("twinfold.gaps.lost", "counter", "{message}", "Events whose retention ended before they were folded")
SWEEP_FAILURES = Metric("twinfold.sweeps.failed", "counter", "{failure}", "What twin types raised in sweeps")
LEFT_OUT = Metric("twinfold.twins.left_out", "counter", "{twin}", "Twins left out of sweeps: they killed the process")
FENCED = Metric("twinfold.fenced", "counter", "{event}", "Times another owner had taken the partition")
STOPPED = Metric("twinfold.stopped", "counter", "{event}", "Times the partition stopped for an operator")
THROTTLED = Metric("twinfold.throttled", "counter", "{response}", "Answers 429 of the graph and other receivers")
BATCH_SIZE = Metric("twinfold.batch.size", "histogram", "{message}", "Events of a batch as the trigger hands it over")
COMMIT = Metric("twinfold.commit.duration", "histogram", "s", "Time until an append to the journal is confirmed")
LAG = Metric("twinfold.lag", "gauge", "s", "Age of the newest folded event when its batch was folded")
PROJECTION_LAG = Metric("twinfold.projection.lag", "gauge", "s", "Age of the oldest state that the graph does not show")
PARKED = Metric("twinfold.projection.parked", "gauge", "{twin}", "Twins that the graph refuses to show")
OUTBOX = Metric("twinfold.outbox.waiting", "gauge", "{output}", "Committed outputs that are not known delivered")

METRICS = (
    FOLDED,
    DUPLICATES,
    RESENT,
    FORWARDED,
    DEAD_LETTERS,
    HEALED,
    LOST,
    SWEEP_FAILURES,
    LEFT_OUT,
    FENCED,
    STOPPED,
    THROTTLED,
    BATCH_SIZE,
    COMMIT,
    LAG,
    PROJECTION_LAG,
    PARKED,
    OUTBOX,
)

COUNTED = {
    "messages": FOLDED,
    "resent": RESENT,
    "forwarded": FORWARDED,
    "forwards_repeated": DUPLICATES,
    "dead_letters": DEAD_LETTERS,
    "healed": HEALED,
    "lost": LOST,
    "sweeps_failed": SWEEP_FAILURES,
    "left_out": LEFT_OUT,
}
"""Which of the counts of a record are told on."""


class Metrics:
    """The instruments of this process.

    Parameters
    ----------
    provider
        Of meters; None for the one that the app has configured, if any.
    """

    def __init__(self, provider: MeterProvider | None = None) -> None:
        meter = get_meter("twinfold", meter_provider=provider)
        self._record: dict[str, Callable[[float, Mapping[str, int]], None]] = {}
        for metric in METRICS:
            match metric.kind:
                case "counter":
                    record = meter.create_counter(metric.name, metric.unit, metric.description).add
                case "histogram":
                    record = meter.create_histogram(metric.name, metric.unit, metric.description).record
                case _:
                    record = meter.create_gauge(metric.name, metric.unit, metric.description).set
            self._record[metric.name] = record

    def record(self, metric: Metric, partition: int, value: float = 1) -> None:
        """Add to a counter, set a gauge, or note a value for a histogram."""
        self._record[metric.name](value, {"partition": partition})

    def committed(self, partition: int, counts: Mapping[str, int], seconds: float) -> None:
        """Take over what a confirmed record counts."""
        self.record(COMMIT, partition, seconds)
        for name, count in counts.items():
            if (metric := COUNTED.get(name)) is not None:
                self.record(metric, partition, count)
