"""``/metrics``: counters, gauges and histograms as OpenMetrics text.

Names and units follow Prometheus's conventions: base units in the name,
``_total`` on counters.  Labels are bounded: one set for each server, of which
``Peers`` keeps at most ``MAX_PEERS``, and five ends of downloads.

Source: OpenMetrics 1.0, https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..shell.hub import Hub
from . import views
from .counters import counters, gauges
from .journal import Journal
from .peers import Histogram, Totals

CONTENT_TYPE = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
PREFIX = "tahoe_fastdl_"

Labels = Mapping[str, str]

# Of counters.json: name here, name there, what it is.
_COUNTED = (
    ("downloads", "downloads", "Files that this downloader was asked for."),
    ("fallbacks", "fallbacks", "Downloads that went on with stock because our own code broke."),
    ("unsupported", "unsupported", "Downloads left to stock as larger than is supported."),
    ("reads_sent", "reads_sent", "Reads sent to servers."),
    ("book_changes", "changes", "Changes of the downloads' books and bitmaps."),
    ("recomputations", "recomputations", "Plans and bitmaps that were worked out anew."),
    ("hedges", "hedges", "Late reads whose blocks were asked of another share as well."),
    ("inquests", "inquests", "Segments that failed their hash and were examined."),
    ("corruptions", "corruptions", "Corruptions that servers were told of."),
)


class Writer:
    """Collects metric families, each with its samples, as OpenMetrics text."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, about: str, unit: str = "") -> None:
        """Begin a family.  A unit must be how the name ends."""
        assert not unit or name.endswith("_" + unit), (name, unit)
        self._name = PREFIX + name
        self._lines.append(f"# TYPE {self._name} {kind}")
        if unit:
            self._lines.append(f"# UNIT {self._name} {unit}")
        self._lines.append(f"# HELP {self._name} {_escape(about)}")

    def sample(self, value: float, labels: Labels | None = None, suffix: str = "") -> None:
        """One sample of the family that was begun last."""
        shown = ",".join(f'{name}="{_escape(text)}"' for name, text in (labels or {}).items())
        braces = f"{{{shown}}}" if shown else ""
        self._lines.append(f"{self._name}{suffix}{braces} {_number(value)}")

    def counter(self, name: str, about: str, value: float, unit: str = "") -> None:
        """A family of one counter."""
        self.family(name, "counter", about, unit)
        self.sample(value, suffix="_total")

    def gauge(self, name: str, about: str, value: float, unit: str = "") -> None:
        """A family of one gauge."""
        self.family(name, "gauge", about, unit)
        self.sample(value)

    def histogram(self, name: str, about: str, histogram: Histogram, unit: str) -> None:
        """A family of one histogram."""
        self.family(name, "histogram", about, unit)
        total = 0
        for bound, total in histogram.cumulated():
            self.sample(total, {"le": _number(float(bound))}, "_bucket")
        self.sample(total, suffix="_count")
        self.sample(histogram.sum, suffix="_sum")

    def text(self) -> str:
        """All of it, with the mark at its end."""
        return "\n".join([*self._lines, "# EOF"]) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return repr(value)


def metrics(hub: Hub | None, is_active: bool, plugin: str, tahoe: str) -> str:
    """The text of ``/metrics``.

    :param hub: None before the first download.
    """
    journal, writer = views.journal_of(hub), Writer()
    for record in journal:
        record.standing()  # looking brings what is counted up to date
    writer.family("build", "info", "Versions of this plugin and of Tahoe-LAFS.")
    writer.sample(1, {"version": plugin, "tahoe_version": tahoe}, "_info")
    writer.gauge("active", "1 if downloads use this downloader, 0 if stock.", int(is_active))
    numbers = counters(hub)
    for name, counter, about in _COUNTED:
        writer.counter(name, about, numbers[counter])
    _downloads(writer, journal, gauges(hub)["downloads_waiting"])
    for name, about in (
        ("memory_limit_bytes", "The byte budget of all downloads together."),
        ("memory_used_bytes", "Bytes of the budget that are reserved now."),
        ("memory_peak_bytes", "The most that was reserved at one time."),
    ):
        key = "memory_bytes" if name == "memory_limit_bytes" else name
        writer.gauge(name, about, numbers[key], "bytes")
    _servers(writer, [] if hub is None else views.servers(hub, journal))
    return writer.text()


def _downloads(writer: Writer, journal: Journal, waiting: int) -> None:
    totals: Totals = journal.peers.totals
    running = sum(record.seconds is None for record in journal)
    writer.gauge("downloads_running", "Downloads that somebody reads now.", running)
    about = "Of these, those that wait for a silent server because no share is spare."
    writer.gauge("downloads_waiting", about, waiting)
    writer.family("downloads_ended", "counter", "Downloads that ended, by how they did.")
    for state, number in totals.ended.items():
        writer.sample(number, {"state": state}, "_total")
    for name, about, value in (
        ("received_bytes", "Bytes of answers from servers.", totals.received_bytes),
        ("delivered_bytes", "Bytes of files given to readers.", totals.delivered_bytes),
        ("wasted_bytes", "Received bytes that helped nobody.", totals.wasted_bytes),
    ):
        writer.counter(name, about, value, "bytes")
    last = journal.peers.last_fallback
    if last is not None:
        about = "When the last fallback was, in unix time."
        writer.gauge("last_fallback_timestamp_seconds", about, last.at, "seconds")
    writer.histogram(
        "read_latency_seconds", "From sending a read to its whole answer.",
        journal.peers.latency, "seconds",
    )  # fmt: skip
    writer.histogram(
        "download_rate_bytes_per_second", "Mean rate of each download that was read to its end.",
        journal.peers.rate, "bytes_per_second",
    )  # fmt: skip


def _servers(writer: Writer, servers: Iterable[views.Json]) -> None:
    """Nothing is written of a family without samples."""
    known = list(servers)
    for name, kind, key, about, unit in (
        ("server_latency_seconds", "gauge", "latency_s", "Time of a small question.", "seconds"),
        (
            "server_rate_bytes_per_second", "gauge", "rate_bytes_per_s", "What came of it of late.",
            "bytes_per_second",
        ),
        ("server_in_flight_bytes", "gauge", "in_flight_bytes", "Asked for, not here yet.", "bytes"),
        ("server_stalled", "gauge", "stalled", "1 while a read counts as not coming.", ""),
        ("server_reads", "counter", "reads", "Reads sent to the server.", ""),
        ("server_received_bytes", "counter", "bytes", "Bytes of its answers.", "bytes"),
        ("server_errors", "counter", "errors", "Questions and reads that failed.", ""),
        ("server_lies", "counter", "lies", "Corruptions it was told of.", ""),
        ("server_hedged_reads", "counter", "hedged", "Its late reads that others made up for.", ""),
    ):  # fmt: skip
        samples = [(server, server[key]) for server in known if server[key] is not None]
        if samples:
            writer.family(name, kind, about, unit)
        for server, value in samples:
            labels = {"serverid": server["serverid"], "server": server["name"]}
            writer.sample(
                int(value) if isinstance(value, bool) else value,
                labels,
                "_total" if kind == "counter" else "",
            )
