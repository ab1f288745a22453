"""One read's delivery: order, pace and end, on a consumer that does as it likes."""

from __future__ import annotations

from typing import Any

from allmydata.interfaces import DownloadStopped
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tahoe_fastdl.shell.delivery import MAX_WRITE, Delivery

from .gridcase import Reader, some_bytes

START = 1000


class Scene:
    """A delivery of some bytes, its consumer, and what it told the node."""

    def __init__(self, data: bytes, reader: Reader | None = None) -> None:
        self.data = data
        self.clock = Clock()
        self.reader = reader or Reader()
        self.delivered: list[int] = []
        self.left = 0
        self.paused: list[float] = []
        self.results: list[Any] = []
        self.delivery = Delivery(
            7, self.reader, None, START, START + len(data), self._on_delivered, self._on_left,
            self.clock.seconds,
        )  # fmt: skip
        self.delivery.on_paused = self.paused.append  # type: ignore[method-assign,assignment]  # its hook
        self.delivery.done.addBoth(self.results.append)

    def _on_delivered(self, reader: int, position: int) -> None:
        assert reader == 7
        self.delivered.append(position - START)

    def _on_left(self, reader: int) -> None:
        assert reader == 7
        self.left += 1

    def begin(self) -> Scene:
        """Register the producer."""
        self.delivery.begin()
        return self

    def take(self, start: int, stop: int) -> None:
        """Bytes ``[start, stop)`` of the data are decoded."""
        self.delivery.take(START + start, memoryview(self.data)[start:stop])


class DeliveryCase(SynchronousTestCase):
    """Helpers."""

    def ended(self, scene: Scene, error: type[Exception] | None = None) -> None:
        """The read is over, once, and everybody was told."""
        (result,) = scene.results
        if error is None:
            self.assertIsNone(result)
            self.assertEqual(scene.reader.text, scene.data)
        else:
            self.assertIsNotNone(result.check(error), result)
        self.assertEqual((scene.reader.registered, scene.reader.unregistered), (1, 1))
        self.assertEqual(scene.left, 1)
        self.assertTrue(scene.delivery.is_over)


class Order(DeliveryCase):
    """Pieces come in any order and leave in order."""

    def test_interface(self) -> None:
        """It is a push producer."""
        self.assertTrue(verifyObject(IPushProducer, Scene(b"x").delivery))

    @given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.randoms())
    def test_any_order(self, lengths: list[int], chance: Any) -> None:
        """Whatever the order, every byte is written once, in place, as soon as it can be."""
        scene = Scene(some_bytes(sum(lengths))).begin()
        starts = [sum(lengths[:i]) for i in range(len(lengths))]
        pieces = list(zip(starts, lengths))
        chance.shuffle(pieces)
        here: set[int] = set()
        for start, length in pieces:
            scene.take(start, start + length)
            here |= set(range(start, start + length))
            ready = next(i for i in range(len(scene.data) + 1) if i not in here)
            self.assertEqual(scene.reader.text, scene.data[:ready])
        self.ended(scene)
        self.assertEqual(scene.delivered, sorted(set(scene.delivered)))

    def test_large_pieces_are_cut(self) -> None:
        """No single write is larger than the limit."""
        scene = Scene(some_bytes(2 * MAX_WRITE + 5)).begin()
        scene.take(0, len(scene.data))
        self.assertEqual([len(c) for c in scene.reader.chunks], [MAX_WRITE, MAX_WRITE, 5])
        self.ended(scene)

    def test_bytes_are_written(self) -> None:
        """What is written is bytes, also when a view of a part was taken, or a bytearray."""
        scene = Scene(b"0123456789").begin()
        scene.delivery.take(START, memoryview(bytearray(b"01234")))
        scene.take(5, 10)
        self.assertEqual([type(chunk) for chunk in scene.reader.chunks], [bytes, bytes])
        self.ended(scene)

    def test_progress_is_told(self) -> None:
        """The node hears of each position reached while there is more to come."""
        scene = Scene(some_bytes(30)).begin()
        scene.take(10, 20)
        scene.take(0, 10)
        self.assertEqual(scene.delivered, [20])
        scene.take(20, 30)
        self.assertEqual(scene.delivered, [20, 30])
        self.ended(scene)


class Pace(DeliveryCase):
    """Pause and resume."""

    def test_paused(self) -> None:
        """Nothing is written while paused; all that came is written on resuming."""
        scene = Scene(some_bytes(30)).begin()
        scene.delivery.pauseProducing()
        scene.take(0, 10)
        scene.take(10, 30)
        self.assertEqual(scene.reader.chunks, [])
        scene.delivery.resumeProducing()
        self.ended(scene)

    def test_pause_inside_write(self) -> None:
        """A consumer that pauses in a write gets nothing more until it resumes."""
        scene = Scene(some_bytes(30), Reader(lambda reader: reader.producer.pauseProducing()))
        scene.begin()
        for start in (0, 10, 20):
            scene.take(start, start + 10)
        for count in (1, 2, 3):
            self.assertEqual(len(scene.reader.chunks), count)
            self.assertEqual(scene.results, [])  # on the last bytes it may still stop
            scene.delivery.resumeProducing()
        self.ended(scene)

    def test_resume_inside_write(self) -> None:
        """A consumer that pauses and resumes within a write is not written to from within."""
        depth: list[int] = []

        def look(reader: Reader) -> None:
            depth.append(0)
            assert len(depth) == 1, "write() within write()"
            reader.producer.pauseProducing()
            reader.producer.resumeProducing()
            depth.pop()

        scene = Scene(some_bytes(30), Reader(look)).begin()
        scene.take(10, 30)
        scene.take(0, 10)
        self.ended(scene)

    def test_resume_at_registration(self) -> None:
        """Tahoe's MemoryConsumer resumes a producer that never paused: harmless."""
        resuming = Reader(None, lambda reader: reader.producer.resumeProducing())
        scene = Scene(some_bytes(10), resuming)
        scene.begin()
        scene.take(0, 10)
        self.ended(scene)

    def test_pause_at_registration(self) -> None:
        """A consumer may register us and pause at once."""
        scene = Scene(some_bytes(10), Reader(None, lambda reader: reader.producer.pauseProducing()))
        scene.begin()
        scene.take(0, 10)
        self.assertEqual(scene.reader.chunks, [])
        scene.delivery.resumeProducing()
        self.ended(scene)

    def test_paused_time(self) -> None:
        """Each pause is told once with its length, a second pause call does not begin anew."""
        scene = Scene(some_bytes(10)).begin()
        scene.delivery.pauseProducing()
        scene.clock.advance(2)
        scene.delivery.pauseProducing()
        scene.clock.advance(3)
        scene.delivery.resumeProducing()
        scene.delivery.resumeProducing()
        scene.clock.advance(4)
        scene.delivery.pauseProducing()
        scene.clock.advance(1)
        scene.delivery.resumeProducing()
        self.assertEqual(scene.paused, [5, 1])

    def test_failure_while_paused(self) -> None:
        """A failure is told to a paused consumer as well."""
        scene = Scene(some_bytes(10)).begin()
        scene.delivery.pauseProducing()
        scene.delivery.fail(Failure(ValueError("lost")))
        self.ended(scene, ValueError)
        scene.delivery.resumeProducing()
        self.assertEqual(scene.reader.chunks, [])


class End(DeliveryCase):
    """Stopping, failing and being abandoned."""

    def test_stop(self) -> None:
        """Stopping is DownloadStopped; what comes later is dropped; once is enough."""
        scene = Scene(some_bytes(30)).begin()
        scene.take(0, 10)
        scene.delivery.stopProducing()
        self.ended(scene, DownloadStopped)
        scene.delivery.stopProducing()
        scene.delivery.pauseProducing()
        scene.delivery.resumeProducing()
        scene.take(10, 30)
        scene.delivery.fail(Failure(ValueError("late")))
        self.ended(scene, DownloadStopped)
        self.assertEqual(scene.reader.text, scene.data[:10])

    def test_stop_inside_write(self) -> None:
        """Stopping in a write ends the read with that write, also in the last one."""
        for size in (10, 30):
            scene = Scene(some_bytes(size), Reader(lambda reader: reader.producer.stopProducing()))
            scene.begin()
            scene.take(10, size)
            scene.take(0, 10)
            self.ended(scene, DownloadStopped)
            self.assertEqual(len(scene.reader.chunks), 1)
            self.assertEqual(scene.delivered, [])

    def test_stop_at_registration(self) -> None:
        """A consumer may stop us at once."""
        scene = Scene(some_bytes(10), Reader(None, lambda reader: reader.producer.stopProducing()))
        scene.begin()
        self.ended(scene, DownloadStopped)

    def test_stop_while_paused_on_the_last_bytes(self) -> None:
        """Paused in the last write and then stopped is DownloadStopped, as with stock."""
        scene = Scene(some_bytes(10), Reader(lambda reader: reader.producer.pauseProducing()))
        scene.begin()
        scene.take(0, 10)
        scene.delivery.stopProducing()
        self.ended(scene, DownloadStopped)

    def test_fail(self) -> None:
        """A failure ends the read after what was delivered; a second one is dropped."""
        scene = Scene(some_bytes(30)).begin()
        scene.take(0, 10)
        scene.take(20, 30)
        scene.delivery.fail(Failure(ValueError("lost")))
        scene.delivery.fail(Failure(KeyError("again")))
        self.ended(scene, ValueError)
        self.assertEqual(scene.reader.text, scene.data[:10])

    def test_abandon(self) -> None:
        """When the node shuts down nothing fires and nothing is written any more."""
        scene = Scene(some_bytes(30)).begin()
        scene.take(0, 10)
        scene.delivery.abandon()
        scene.take(10, 30)
        scene.delivery.resumeProducing()
        scene.delivery.stopProducing()
        scene.delivery.fail(Failure(ValueError("late")))
        self.assertEqual(scene.results, [])
        self.assertEqual(scene.reader.text, scene.data[:10])
        self.assertEqual(scene.left, 0)

    def test_consumer_raises_in_write(self) -> None:
        """An error in write() is how the read ends."""

        def fail(_reader: Reader) -> None:
            raise OSError("disk full")

        scene = Scene(some_bytes(30), Reader(fail)).begin()
        scene.take(10, 30)
        scene.take(0, 10)
        self.ended(scene, OSError)
        self.assertEqual(len(scene.reader.chunks), 1)

    def test_consumer_raises_on_unregistration(self) -> None:
        """An error in unregisterProducer() is how the read ends, and the node is told."""

        class Torn(Reader):
            def unregisterProducer(self) -> None:
                """Counts, and raises."""
                super().unregisterProducer()
                raise OSError("torn")

        scene = Scene(some_bytes(10), Torn()).begin()
        scene.take(0, 10)
        self.ended(scene, OSError)


class Producer:
    """A stock producer that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        """Noted."""
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """Noted."""
        self.told.append("resume")

    def stopProducing(self) -> None:
        """Noted."""
        self.told.append("stop")


class HandOver(DeliveryCase):
    """The stock downloader takes over."""

    def test_flow_control_is_passed_on(self) -> None:
        """Pause and resume reach the successor, pieces of our own are dropped."""
        scene, successor = Scene(some_bytes(30)).begin(), Producer()
        scene.take(10, 20)
        scene.delivery.hand_over(successor)
        scene.delivery.pauseProducing()
        scene.delivery.resumeProducing()
        self.assertEqual(successor.told, ["pause", "resume"])
        self.assertEqual(scene.reader.chunks, [])
        scene.reader.write(scene.data)
        scene.delivery.hand_back(None)
        self.ended(scene)

    def test_paused_before(self) -> None:
        """A consumer that is paused stays so under the successor."""
        scene, successor = Scene(some_bytes(30)).begin(), Producer()
        scene.delivery.pauseProducing()
        scene.delivery.hand_over(successor)
        self.assertEqual(successor.told, ["pause"])

    def test_stop(self) -> None:
        """Stopping stops the successor, whose error ends the read; a second stop is harmless."""
        scene, successor = Scene(some_bytes(30)).begin(), Producer()
        scene.delivery.hand_over(successor)
        scene.delivery.stopProducing()
        self.assertEqual(successor.told, ["stop"])
        self.assertEqual(scene.results, [])
        scene.delivery.hand_back(Failure(DownloadStopped("stopped")))
        self.ended(scene, DownloadStopped)
        scene.delivery.stopProducing()
        self.assertEqual(successor.told, ["stop"])

    def test_error(self) -> None:
        """The successor's error ends the read."""
        scene = Scene(some_bytes(30)).begin()
        scene.delivery.hand_over(Producer())
        scene.delivery.hand_back(Failure(ValueError("lost")))
        self.ended(scene, ValueError)

    def test_abandoned_before(self) -> None:
        """After a shutdown the successor's end fires nothing."""
        scene = Scene(some_bytes(30)).begin()
        scene.delivery.hand_over(Producer())
        scene.delivery.abandon()
        scene.delivery.hand_back(None)
        self.assertEqual(scene.results, [])
