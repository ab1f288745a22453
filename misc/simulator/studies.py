"""What is simulated: the settings of each study, and how much of the whole each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from misc.simulator.policies import (
    FAST,
    POLICIES,
    STOCK,
    with_default_rate,
    with_hedge_part,
    with_late_factor,
)
from misc.simulator.worlds import KIB, MB, Setting

TAILS, LATE, HEDGES, RATES, CROWD = "tails", "late", "hedges", "rates", "crowd"

ENCODINGS = ((3, 10), (20, 60), (80, 256))
# (trouble, encoding) -> downloads; as many as ten minutes on one core allow.
COUNTS = {
    ("calm", (3, 10)): 400,
    ("calm", (20, 60)): 200,
    ("pauses", (3, 10)): 2000,
    ("pauses", (20, 60)): 1000,
    ("pauses", (80, 256)): 150,
    ("pauses and deaths", (3, 10)): 1000,
    ("pauses and deaths", (20, 60)): 500,
}
LATE_FACTORS = (1.5, 2.0, 3.0, 5.0, 10.0)
HEDGE_PARTS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
DEFAULT_RATES = (1.0 * MB, 5.0 * MB, 20.0 * MB, 100.0 * MB)
STUDY_COUNTS = {(3, 10): 1000, (20, 60): 400}
CROWDS = ((128 * KIB, 1 * MB), (1024 * KIB, 2 * MB))  # segment, file
CROWD_COUNT = 1000
CROWD_DOWNLINK = 125.0 * MB


def settings(is_quick: bool = False) -> list[Setting]:
    """All of them, in the order in which they are run."""
    made = [*tails(), *constants(), *crowds()]
    if not is_quick:
        return made
    small = [replace(each, count=max(20, each.count // 20)) for each in made if each.total <= 60]
    return [each for each in small if each.study != CROWD or each.segment_bytes == 128 * KIB]


def tails() -> list[Setting]:
    """How long downloads take, by each policy."""
    return [
        Setting(TAILS, policy, *encoding, trouble, count=count)
        for (trouble, encoding), count in COUNTS.items()
        for policy in POLICIES
    ]


def constants() -> list[Setting]:
    """What each constant is worth, with all else as it is."""
    made = []
    for encoding, count in STUDY_COUNTS.items():
        for study, policies in (
            (LATE, [with_late_factor(factor) for factor in LATE_FACTORS]),
            (HEDGES, [with_hedge_part(part) for part in HEDGE_PARTS]),
            (RATES, [with_default_rate(rate) for rate in DEFAULT_RATES]),
        ):
            made += [Setting(study, policy, *encoding, count=count) for policy in policies]
    return made


def crowds() -> list[Setting]:
    """A gateway with many downloads at once."""
    return [
        Setting(
            CROWD, FAST, 3, 10, "calm", length, segment_bytes, CROWD_DOWNLINK, CROWD_COUNT, True
        )
        for segment_bytes, length in CROWDS
    ]


def weight(setting: Setting) -> float:
    """Seconds that it takes on a machine of 2026, nearly; for the time that is left."""
    segments = setting.length / setting.segment_bytes
    if setting.policy is STOCK:
        return setting.count * segments * (setting.needed + 1) * 2.5e-5
    each = 0.003 + 0.00027 * setting.total
    if setting.at_once:
        each += 3e-5 * setting.count
    return setting.count * each


def total_weight(chosen: Sequence[Setting]) -> float:
    """Of all."""
    return sum(map(weight, chosen))
