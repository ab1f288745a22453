"""Which idle downloads are kept for the next reader, and for how long."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.shell.parking import (
    FORGOTTEN_AT_ONCE,
    MAX_PARKED_FILES,
    MAX_PARKED_SEGMENTS,
    Parking,
)
from tahoe_fastdl.shell.wire import RemoteShare, Wire

from .strategies import examples

BROKER = object()
PARKED_S = 300.0


class Bucket:
    """A reference to a share, of which one can see when it is gone."""


class ParkedDriver:
    """As much of a driver as parking sees."""

    def __init__(self, key: bytes, segments: int = 1) -> None:
        self.key = key
        self.core = SimpleNamespace(geometry=SimpleNamespace(num_segments=segments))
        self.stopped = 0

    def is_usable(self, broker: object) -> bool:
        """All of these are of one broker, and connected."""
        return broker is BROKER

    def stop(self) -> None:
        """Counts."""
        self.stopped += 1


class Places(SynchronousTestCase):
    """Putting and taking."""

    def setUp(self) -> None:
        """Nothing is parked."""
        self.parking = Parking(PARKED_S)

    def put(self, name: str, now: float = 0.0, segments: int = 1) -> Any:
        """Park a driver of the file with this name."""
        driver: Any = ParkedDriver(name.encode(), segments)
        self.parking.put(driver, now)
        return driver

    def test_taken_once(self) -> None:
        """Who asks first gets it; it goes on running."""
        driver = self.put("one")
        self.assertIs(self.parking.take(b"one", BROKER, 1.0), driver)
        self.assertIsNone(self.parking.take(b"one", BROKER, 1.0))
        self.assertEqual(driver.stopped, 0)

    def test_too_old(self) -> None:
        """After its time it is stopped, whether it is asked for or another one comes."""
        first, second = self.put("one"), self.put("two")
        self.assertIsNone(self.parking.take(b"one", BROKER, PARKED_S + 1))
        self.put("three", PARKED_S + 1)
        self.assertEqual((first.stopped, second.stopped, len(self.parking)), (1, 1, 1))

    def test_other_broker(self) -> None:
        """What another client learned is not used."""
        driver = self.put("one")
        self.assertIsNone(self.parking.take(b"one", object(), 1.0))
        self.assertEqual(driver.stopped, 1)

    def test_same_file(self) -> None:
        """Of two nodes that read one file the later one's knowledge stays."""
        older, newer = self.put("one"), self.put("one")
        self.assertEqual((older.stopped, newer.stopped), (1, 0))
        self.assertIs(self.parking.take(b"one", BROKER, 0.0), newer)

    def test_stop(self) -> None:
        """When the client shuts down all of them are stopped, once."""
        drivers = [self.put("one"), self.put("two")]
        self.parking.stop()
        self.parking.stop()
        self.assertEqual([driver.stopped for driver in drivers], [1, 1])

    def test_small_files(self) -> None:
        """Of many small files the oldest go, some at a time."""
        drivers: list[ParkedDriver] = []
        for number in range(100):
            before = sum(driver.stopped for driver in drivers)
            drivers.append(self.put(str(number)))
            gone = sum(driver.stopped for driver in drivers)
            self.assertIn(gone - before, (0, FORGOTTEN_AT_ONCE))
            self.assertIn(len(self.parking) - MAX_PARKED_FILES, range(-32, FORGOTTEN_AT_ONCE))
        self.assertGreaterEqual(gone, 100 - MAX_PARKED_FILES - FORGOTTEN_AT_ONCE)

    def test_bounded(self) -> None:
        """However many come, files and segments stay within bounds; what goes is stopped."""

        @examples(50)
        @given(st.lists(st.integers(1, MAX_PARKED_SEGMENTS * 2), min_size=1, max_size=60))
        def check(sizes: list[int]) -> None:
            self.parking = Parking(PARKED_S)
            drivers = [self.put(str(i), float(i), size) for i, size in enumerate(sizes)]
            kept = [driver for driver in drivers if not driver.stopped]
            self.assertEqual(len(kept), len(self.parking))
            self.assertLess(len(kept), MAX_PARKED_FILES + FORGOTTEN_AT_ONCE)
            self.assertLessEqual(
                sum(driver.core.geometry.num_segments for driver in kept), MAX_PARKED_SEGMENTS
            )
            # the newest stay
            self.assertEqual(kept, drivers[len(drivers) - len(kept) :])

        check()


class References(SynchronousTestCase):
    """What a download that is stopped lets go of."""

    def test_shares(self) -> None:
        """References to shares go when it stops, before any garbage is collected."""
        wire = Wire(lambda _event: None, None, lambda _failure: None)
        buckets = [Bucket() for _ in range(10)]
        for shnum, bucket in enumerate(buckets):
            wire.add(shnum, RemoteShare(BROKER, bucket, shnum))
        left = weakref.WeakSet(buckets)
        del bucket, buckets
        self.assertEqual(len(left), 10)
        wire.stop()
        self.assertEqual(len(left), 0)
