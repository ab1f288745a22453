"""Makes any number of node directories in one process.

``tahoe create-node`` and its like spend most of a second importing Tahoe; a grid
has a dozen nodes.  This command imports once and calls the same functions.  It
reads a JSON list of argument lists from standard input, each as it would follow
``tahoe`` on the command line.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from typing import Any

from allmydata.scripts import create_node, runner
from twisted.internet import defer
from twisted.python.failure import Failure


def make_node(arguments: Sequence[str]) -> None:
    """Do what ``tahoe ARGUMENTS`` does, for one of its ``create-`` commands.

    :raise RuntimeError: Tahoe refused; carries what it printed.
    """
    options = runner.parse_options(list(arguments), config=runner.Options())
    command = options.subOptions
    command.stdout = command.stderr = output = io.StringIO()
    # With a port and a location given nothing is asked of the network, so the
    # answer is here when the call returns and no reactor has to run.
    answers: list[Any] = []
    made = defer.maybeDeferred(create_node.dispatch[options.subCommand], command)
    made.addBoth(answers.append)
    if not answers:
        raise RuntimeError(f"{options.subCommand} waits for something: {output.getvalue()}")
    answer = answers[0]
    if isinstance(answer, Failure):
        answer.raiseException()
    if answer != 0:
        raise RuntimeError(f"{options.subCommand} failed ({answer}): {output.getvalue()}")


if __name__ == "__main__":
    for argument_list in json.load(sys.stdin):
        make_node(argument_list)
