"""A strict reader of OpenMetrics text, for what our page writes.

It knows the types we use (counter, gauge, info, histogram) and refuses
whatever the specification forbids of them, more than Prometheus itself does.

Source: OpenMetrics 1.0, https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

import re

from attrs import define, field

Labels = dict[str, str]

SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "info": ("_info",),
    "histogram": ("_bucket", "_count", "_sum"),
}
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (\S+)")


@define
class Family:
    """One metric family."""

    kind: str
    unit: str = ""
    help: str = ""
    samples: list[tuple[str, Labels, float]] = field(factory=list)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


def _labels(text: str | None) -> Labels:
    labels: Labels = {}
    for name, value in re.findall(r'([a-zA-Z0-9_]+)="((?:[^"\\]|\\.)*)"', text or ""):
        assert name not in labels, text
        labels[name] = _unescape(value)
    return labels


def parse(text: str) -> dict[str, Family]:
    """The families by name.

    :raise AssertionError: the text is not valid.
    """
    assert text.endswith("\n"), "the last line ends"
    lines = text[:-1].split("\n")
    assert lines.pop() == "# EOF", "the text ends with its mark"
    families: dict[str, Family] = {}
    name = ""
    for line in lines:
        if line.startswith("# "):
            _hash, what, family, rest = line.split(" ", 3)
            if what == "TYPE":
                assert family not in families, f"{family} comes twice"
                assert rest in SUFFIXES, line
                assert re.fullmatch(_NAME, family), line
                families[family], name = Family(rest), family
                continue
            assert family == name and not families[name].samples, f"{line} is out of place"
            if what == "UNIT":
                assert family.endswith("_" + rest), line
                families[name].unit = rest
            else:
                assert what == "HELP", line
                families[name].help = _unescape(rest)
            continue
        _sample(line, name, families[name])
    for name, found in families.items():
        assert found.samples and found.help, name
        _check(name, found)
    return families


def _sample(line: str, name: str, family: Family) -> None:
    found = _SAMPLE.fullmatch(line)
    assert found is not None, line
    assert found[1] in [name + suffix for suffix in SUFFIXES[family.kind]], line
    value = float(found[3])
    labels = _labels(found[2])
    assert (found[1], labels) not in [each[:2] for each in family.samples], f"{line} comes twice"
    family.samples.append((found[1], labels, value))


def _check(name: str, family: Family) -> None:
    values = [value for _name, _labels, value in family.samples]
    if family.kind in ("counter", "histogram"):
        assert min(values) >= 0, name
    if family.kind == "info":
        assert set(values) == {1.0}, name
    if family.kind == "histogram":
        buckets = [(labels["le"], v) for n, labels, v in family.samples if n.endswith("_bucket")]
        bounds = [float(bound) for bound, _value in buckets]
        assert buckets[-1][0] == "+Inf" and bounds == sorted(bounds), name
        assert [v for _b, v in buckets] == sorted(v for _b, v in buckets), name
        (count,) = (v for n, _l, v in family.samples if n.endswith("_count"))
        assert count == buckets[-1][1], name
        for bound, _value in buckets[:-1]:
            assert bound == repr(float(bound)), bound  # as the specification writes floats
