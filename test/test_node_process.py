"""What is read out of a node's log."""

from __future__ import annotations

import io

from twisted.logger import Logger, textFileLogObserver
from twisted.trial.unittest import SynchronousTestCase

from misc.node_process import ASKS_VERSION, unhandled_in


class LostConnection(Exception):
    """Any error, with the name of Foolscap's."""


LostConnection.__name__ = "DeadReferenceError"


def log_of(*raisers: tuple[str, Exception]) -> str:
    """What twistd writes of errors that nobody took, raised in files of these names."""
    text = io.StringIO()
    log = Logger(observer=textFileLogObserver(text))
    log.info("client running")
    for path, error in raisers:
        try:
            exec(compile("raise error", path, "exec"), {"error": error})
        except (LostConnection, LookupError, ValueError):
            log.failure("Unhandled Error")
        log.info("web: 127.0.0.1 GET /uri/[CENSORED] 200 100")
    return text.getvalue()


class UnhandledIn(SynchronousTestCase):
    """``unhandled_in``."""

    def test_none(self) -> None:
        """A quiet log."""
        self.assertEqual(unhandled_in(log_of()), [])

    def test_each(self) -> None:
        """Each error, with its own traceback and nothing of the lines around it."""
        log = log_of(("/a/ours.py", ValueError("one")), ("/b/theirs.py", KeyError("two")))
        first, second = unhandled_in(log)
        self.assertIn("ours.py", first)
        self.assertIn("ValueError: one", first)
        self.assertIn("KeyError: 'two'", second)
        self.assertNotIn("client running", first)
        self.assertNotIn("CENSORED", first + second)

    def test_lost_before_the_version(self) -> None:
        """Tahoe's own note of a server that went while it was asked for its version."""
        path = f"/site-packages/{ASKS_VERSION}"
        self.assertEqual(unhandled_in(log_of((path, LostConnection("gone")))), [])

    def test_lost_elsewhere(self) -> None:
        """The same error of anybody else, or another one there, is an error."""
        path = f"/site-packages/{ASKS_VERSION}"
        log = log_of(("/ours.py", LostConnection("gone")), (path, ValueError("odd")))
        self.assertEqual(len(unhandled_in(log)), 2)
