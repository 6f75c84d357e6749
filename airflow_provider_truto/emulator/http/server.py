"""uvicorn around the application, with what the emulator needs of the connections below HTTP."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Collection

from airflow_provider_truto.emulator.state.state import State

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from airflow_provider_truto.emulator.http.app import build_application
    from airflow_provider_truto.emulator.http.callers import KnownCallers
except ImportError as error:
    raise ImportError(
        f"The Truto emulator needs {error.name}: pip install 'airflow-provider-truto[emulator]'"
    ) from error

_KEEP_ALIVE = 60  # seconds; uvicorn's 5 would close pooled connections between two steps of a test
_connection_numbers = itertools.count(1)


class _Connection(H11Protocol):
    """Puts the TCP connection within reach of the application, which may have to number or to break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio does this only where the listening socket was made with an explicit protocol. Without it the two
        # writes of an answer, its head and its body, are 40 ms apart.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "transport": transport, "connection": next(_connection_numbers)}


class Server(uvicorn.Server):
    """Serves one state on a listening socket until `should_exit`; `on_ready` is called once it accepts.

    `hosts` are names by which it is called, beside those of loopback and the address of the socket.
    """

    def __init__(
        self,
        state: State,
        *,
        on_ready: Callable[[], None],
        report: Callable[[str], None] | None = None,
        hosts: Collection[str] = (),
    ) -> None:
        config = uvicorn.Config(
            KnownCallers(build_application(state, report=report), hosts=hosts),
            http=_Connection,
            ws="none",
            loop="asyncio",  # another loop may not give its socket away
            lifespan="off",
            log_config=None,
            log_level="critical",  # the application logs its own errors; uvicorn's are those of a hurried exit
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then call `on_ready`."""
        await super().startup(sockets=sockets)
        self._on_ready()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)


def build_url(listener: socket.socket) -> str:
    """Return the base URL at which a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
