"""The node that runs in a node directory: its process, and what its web port says of us.

Touches the world.  Asks the machine's own web port only, never through a proxy, and
nothing but the overview, which holds no cap and no key.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from allmydata.util.pid import InvalidPidFile, parse_pidfile
from attrs import frozen
from twisted.python.filepath import FilePath

from ..errors import CannotAsk, NoAnswer, NotRunning
from ..settings import PLUGIN_NAME

ADDRESS = f"/storage-plugins/{PLUGIN_NAME}/v1/overview.json"
TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 32 * 2**20  # 50 downloads and thousands of servers take some MB

# A start is counted from that of the machine, by a clock that is set now and then.
CLOCK_S = 5.0

_KINDS = ("tcp", "tcp6", "ssl")
_EVERYWHERE = ("", "0.0.0.0", "::")


@frozen
class Process:
    """The process of a node."""

    pid: int
    started: float  # unix time


def find_process(directory: Path) -> Process:
    """The node's process, by the file that ``tahoe run`` keeps while it runs.

    :raise NotRunning: there is none.
    """
    try:
        pid, started = parse_pidfile(FilePath(str(directory)).child("running.process"))
    except FileNotFoundError:
        raise NotRunning("there is no running.process") from None
    except (OSError, InvalidPidFile, UnicodeDecodeError):
        raise NotRunning("running.process cannot be read") from None
    try:
        # The number may have gone to another process since.
        is_another = abs(psutil.Process(pid).create_time() - started) > CLOCK_S
    except psutil.AccessDenied:
        is_another = False
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        is_another = True
    if is_another:
        raise NotRunning(f"process {pid} of running.process has ended")
    return Process(pid, started)


def web_address(directory: Path, web_port: str, process: Process) -> str:
    """Where the node's web port is, as a URL without a path.

    :param web_port: ``[node] web.port`` of tahoe.cfg.
    :raise CannotAsk: there is none, or one of a kind that we do not ask.
    :raise NoAnswer: the node has not opened it.
    """
    if not web_port.strip():
        raise CannotAsk("the node has no web port, and nothing else tells")
    kind = web_port.strip().partition(":")[0]
    if not kind.isdigit() and kind not in _KINDS:
        raise CannotAsk(f"web ports of kind {kind!r} are not asked")
    path = directory / "node.url"
    try:
        url = path.read_text(encoding="utf-8").strip()
        is_old = path.stat().st_mtime < process.started - CLOCK_S
    except (OSError, UnicodeDecodeError):
        url, is_old = "", True
    place = urlsplit(url)
    if is_old or place.scheme not in ("http", "https") or not place.port:
        raise NoAnswer("the node has not opened its web port since it was started")
    # node.url says 127.0.0.1, wherever the node listens.
    given = re.search(r"(?:^|:)interface=((?:[^:\\]|\\.)*)", web_port)
    interface = re.sub(r"\\(.)", r"\1", given.group(1)) if given else ""
    host = "127.0.0.1" if interface in _EVERYWHERE else interface
    return f"{place.scheme}://{f'[{host}]' if ':' in host else host}:{place.port}"


def ask(address: str, timeout_s: float = TIMEOUT_S) -> Any:
    """The node's overview, decoded; None if the node has no page of ours.

    :param timeout_s: of the connection, and of each piece of the answer.
    :raise CannotAsk: its certificate does not hold for this machine.
    :raise NoAnswer: it does not answer as it should, or in time.
    """
    place = urlsplit(address)
    assert place.hostname is not None
    connect: Callable[..., http.client.HTTPConnection] = (
        http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    )
    connection = connect(place.hostname, place.port, timeout=timeout_s)
    try:
        connection.request("GET", ADDRESS)
        response = connection.getresponse()
        body = response.read(MAX_ANSWER_BYTES)
    except ssl.SSLCertVerificationError:
        raise CannotAsk(f"the certificate of {address} cannot be verified") from None
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"{address} does not answer ({error!r})") from None
    finally:
        connection.close()
    if response.status == http.client.NOT_FOUND:
        return None
    if response.status != http.client.OK:
        raise NoAnswer(f"{address} answers {response.status}")
    try:
        return json.loads(body)
    except ValueError:
        raise NoAnswer(f"{address} answers with something else than JSON") from None
