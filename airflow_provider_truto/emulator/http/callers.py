"""Who may call an emulator: anybody who calls it by a name that is this machine's own.

A web page that a developer has open can send requests to 127.0.0.1, and by a name that suddenly leads there
(DNS rebinding) even read the answers. Such a page shows by the Host that it calls, or by its Origin.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_truto.emulator.http.errors import build_envelope


class KnownCallers:
    """Lets calls through that name this machine, one of `hosts`, or the address at which they arrived."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, or refuse it with a 403."""
        strange = self._find_stranger(scope) if scope["type"] == "http" else None
        if strange is None:
            await self._app(scope, receive, send)
        else:
            message = f"This emulator is not called by {strange}: --allow-host takes the names by which it is"
            await JSONResponse(build_envelope(403, message), 403)(scope, receive, send)

    def _find_stranger(self, scope: Scope) -> str | None:
        """Return the first header that does not name a host of ours, else None."""
        headers = Headers(scope=scope)
        own = (scope.get("server") or ("",))[0]
        for value in headers.getlist("host") or [""]:
            if not self._is_ours(_read_host(f"//{value}"), own):
                return f"the Host {value!r}"
        for value in headers.getlist("origin"):
            if not self._is_ours(_read_host(value), own):
                return f"a page of the Origin {value!r}"
        return None

    def _is_ours(self, host: str, own: str) -> bool:
        return host in self._hosts or host == own or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own, whichever machine asks."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _read_host(url: str) -> str:
    """Return the host of a URL, lower case; "" where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
