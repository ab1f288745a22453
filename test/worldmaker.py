"""Worlds for ``simulator``, in the words of the tests of the core."""

from __future__ import annotations

from attrs import evolve

from .sharemaker import (
    EncodedFile,
)
from .simulator import SimReader, Simulation
from .worlds import Damage, Mood, ReaderSpec, ServerSpec, read, spread


def whole(file: EncodedFile, joins_at: float = 0.0) -> ReaderSpec:
    """A reader of all of *file*."""
    return read(0, file.size, joins_at)


def damaged(file: EncodedFile, servers: int, damage: dict[int, Damage]) -> tuple[ServerSpec, ...]:
    """Shares dealt out to honest servers, some of them damaged: by shnum."""
    return tuple(
        evolve(
            spec,
            shares=tuple(
                evolve(share, damage=(damage[share.shnum],)) if share.shnum in damage else share
                for share in spec.shares
            ),
        )
        for spec in spread(file, servers)
    )


def part(file: EncodedFile, name: str) -> Damage:
    """All of one part of a share is wrong."""
    return Damage(*file.parts[name])


def with_moods(
    servers: tuple[ServerSpec, ...], number: int, *reads: Mood
) -> tuple[ServerSpec, ...]:
    """The same servers, one of which takes reads like this."""
    return tuple(evolve(s, reads=reads) if i == number else s for i, s in enumerate(servers))


def only_reader(simulation: Simulation) -> SimReader:
    """The one reader of a simulation."""
    (reader,) = simulation.readers.values()
    return reader
