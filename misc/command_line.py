"""What the command lines of the measuring commands share."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

Say = Callable[[str], None]


def one(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """An option's parser that says what was wrong; argparse keeps that of a ValueError quiet."""

    def parse_one(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as problem:
            raise argparse.ArgumentTypeError(str(problem)) from problem

    return parse_one


def list_of(parse: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """An option's parser: several, separated by commas."""
    return one(lambda text: [parse(each.strip()) for each in text.split(",")])


def session() -> str:
    """The name of a session of measuring that begins now: its time, as ISO 8601 has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def say_since_now() -> Say:
    """Prints lines, each with the seconds since this was called."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    return say
