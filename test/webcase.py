"""A grid whose fast client is asked through its web port."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import treq
from twisted.web.http_headers import Headers

from tahoe_fastdl.settings import PLUGIN_NAME
from tahoe_fastdl.status.web import HEADERS

from .gridcase import FAST, GridCase

PAGE = f"/storage-plugins/{PLUGIN_NAME}/"
HOSTILE = "<script>alert(1)</script>\"'&\u202e\x00\n\\ {}"


class Answer:
    """An answer of the web port."""

    def __init__(self, response: Any, body: bytes) -> None:
        self.code: int = response.code
        self.body = body
        self._headers = response.headers

    @property
    def text(self) -> str:
        """The body of what is text."""
        return self.body.decode("utf-8")

    def header(self, name: str) -> str | None:
        """The only header of this name, or None."""
        found = self._headers.getRawHeaders(name, [])
        assert len(found) < 2, found
        return str(found[0]) if found else None

    def json(self) -> Any:
        """The document."""
        return json.loads(self.text)


class WebCase(GridCase):
    """A grid whose fast client is asked through its web port."""

    servers = 6

    def setUp(self) -> Any:
        """Enable the plugin before the web port looks for its page."""
        done = super().setUp()
        client = self.g.clients[FAST]
        broker = client.storage_broker
        broker.node_config = client.config
        resources = broker_resources(client.config)
        client.get_client_storage_plugin_web_resources = lambda: resources
        return done

    async def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """A request to the fast client's web port, which follows nowhere."""
        response = await treq.request(
            method,
            self.client_baseurls[FAST].rstrip("/") + path,
            headers=Headers({name: [value] for name, value in (headers or {}).items()}),
            persistent=False,
            allow_redirects=False,
        )
        return Answer(response, await treq.content(response))

    async def page(self, path: str = "") -> Answer:
        """Something of ours, which must be there and carry its headers."""
        answer = await self.ask(PAGE + path)
        self.assertEqual(answer.code, 200, (path, answer.text[:300]))
        self.check_headers(answer)
        return answer

    def check_headers(self, answer: Answer) -> None:
        """Fail unless an answer carries what each of ours must."""
        for name, value in HEADERS.items():
            if name == b"cache-control" and answer.header("etag"):
                continue
            self.assertEqual(answer.header(name.decode()), value.decode(), name)

    async def overview(self) -> Any:
        """The document of the overview."""
        return (await self.page("v1/overview.json")).json()

    async def web_read(self, cap: bytes) -> bytes:
        """Read a file through the web port, as people do."""
        answer = await self.ask("/uri/" + quote(cap.decode(), safe=""))
        self.assertEqual(answer.code, 200)
        return answer.body

    async def quiet(self) -> None:
        """Let downloads come to their end."""
        await self.turns(lambda: all(r.seconds is not None for r in self.recorded()))

    def recorded(self) -> Any:
        """The journal of the fast client."""
        return list(self.hub.recorder)  # type: ignore[call-overload]  # it is a Journal


def broker_resources(config: Any) -> dict[str, Any]:
    """What Tahoe's own storage broker mounts for a client that enabled us."""
    from .gridcase import broker_of

    broker = broker_of(f"[client]\nstorage.plugins = {PLUGIN_NAME}\n")
    resources: dict[str, Any] = broker.get_client_storage_plugin_web_resources(config)
    return resources
