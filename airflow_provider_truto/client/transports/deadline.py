"""When an attempt has to be over, for whatever waits on a socket of requests within it.

A socket's timeout is for one silence: a server that sends a byte a second outlasts it. So every wait (connecting, a
proxy's CONNECT, TLS, sending, each piece of an answer) is given what is left of the attempt at most.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import socket
    from types import TracebackType

    from typing_extensions import Self

#: Who connects, sends or reads in this thread finds its deadline here: urllib3 has no way to hand it down.
_here = threading.local()


class Deadline:
    """When an attempt has to be over; a context manager, in which connections of this thread keep to it.

    ``seconds`` from now. Raises ``TimeoutError`` where something would begin to wait after it.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self._outer: Deadline | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self._at

    def get_remaining(self) -> float:
        """Return the seconds that are left."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the connection's deadline for one attempt has passed")
        return left

    def remove(self) -> None:
        """Remove the deadline: what is read from now on may take longer."""
        self._at = math.inf

    def limit_timeout(self, sock: socket.socket, silence: float | None) -> None:
        """Set the timeout of the next wait on a socket: ``silence``, but no more than is left of the deadline."""
        left = self.get_remaining()
        if silence is None or left < silence:
            silence = left if math.isfinite(left) else None
        if sock.gettimeout() != silence:  # setting it asks the kernel
            sock.settimeout(silence)

    def __enter__(self) -> Self:
        self._outer = find_deadline()
        _here.deadline = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _here.deadline = self._outer


_NONE = Deadline(math.inf)


def find_deadline() -> Deadline:
    """Return the deadline of this thread: that of the attempt it is in, or one that never comes."""
    return cast("Deadline", getattr(_here, "deadline", _NONE))
