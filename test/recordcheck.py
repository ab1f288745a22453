"""Laws that every document and every trace made of a record keeps."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.status.trace import trace
from tahoe_fastdl.status.views import COLUMNS

NUMBER, TEXT, NUMBERS = (int, float), (str,), (list,)
TYPES: dict[str, tuple[type, ...]] = {
    **{name: NUMBER for columns in COLUMNS.values() for name in columns},
    "kind": TEXT, "state": TEXT, "text": TEXT, "flags": NUMBERS, "shnums": NUMBERS,
}  # fmt: skip


def check_document(case: SynchronousTestCase, document: dict[str, Any]) -> None:
    """Fail unless *document* is what docs/download-page.rst says."""
    document = json.loads(json.dumps(document, allow_nan=False))
    for name, columns in COLUMNS.items():
        for row in document[name]:
            case.assertEqual(len(row), len(columns), name)
            for column, value in zip(columns, row):
                if value is None:
                    case.assertIn(column, ("answered_s", "done_s", "to_s"))
                    continue
                case.assertIsInstance(value, TYPES[column], (name, column))
                if column.endswith("_s"):
                    case.assertGreaterEqual(value, 0)
    for share in document["shares"]:
        case.assertIn(share["server"], range(len(document["servers"])))
    for row in (*document["reads"], *([each[1]] for each in document["map"])):
        case.assertIn(row[0], range(len(document["shares"])))
    for row in document["dyhb"]:
        case.assertIn(row[0], range(len(document["servers"])))
    case.assertEqual(set(document["thinned"]), set(COLUMNS))


def check_trace(case: SynchronousTestCase, document: dict[str, Any]) -> None:
    """Fail unless the trace has named processes, and lanes in which nothing overlaps."""
    events = json.loads(json.dumps(trace(document), allow_nan=False))["traceEvents"]
    case.assertLessEqual({event["ph"] for event in events}, {"X", "C", "M"})
    named = {event["pid"] for event in events if event["name"] == "process_name"}
    case.assertEqual(named, {event["pid"] for event in events})
    lanes: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for event in events:
        if event["ph"] == "X":
            lane = lanes.setdefault((event["pid"], event["tid"]), [])
            lane.append((event["ts"], event["ts"] + event["dur"]))
    for spans in lanes.values():
        spans.sort()
        for (_began, ended), (began, _ended) in zip(spans, spans[1:]):
            case.assertLessEqual(ended, began + 0.11)  # rounded to tenths
