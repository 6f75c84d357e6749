"""The least that a client can talk to: a server on loopback, in a process of its own, with one account for all calls.

It reads heads and bodies by their lengths and keeps connections open. It spends so little that what is measured is
the client; it is not Truto, which is what the emulator is for. A delay stands for the way to Truto and its work.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: The account that every request is answered with, as Truto's unified API writes one.
ACCOUNT = {
    "id": "23423523",
    "name": "Initech",
    "description": "Enterprise software",
    "website": "https://initech.example",
    "industry": "Software",
    "number_of_employees": 140,
    "phone_numbers": [{"number": "+15550100", "type": "work"}],
    "addresses": [{"street_1": "4120 Freidrich Lane", "city": "Austin", "state": "TX", "country": "US"}],
    "owner": {"id": "501"},
    "custom_fields": {"tier": "gold", "region": "EMEA", "renewal_score": 0.83},
    "created_at": "2021-02-27T11:12:26.000Z",
    "updated_at": "2026-01-31T12:00:00.000Z",
}
#: The body of an update that this answer confirms.
UPDATE = {
    "name": "Initech",
    "website": "https://initech.example",
    "industry": "Software",
    "number_of_employees": 140,
    "phone_numbers": [{"number": "+15550100", "type": "work"}],
    "custom_fields": {"tier": "gold"},
}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
#: The account that a request is about, in a path that ends in it; ids are of one length, as the answer's is.
_ID = re.compile(rb"/(\d{8})[? ]")


@contextmanager
def serving(*, delay: float = 0.0) -> Iterator[str]:
    """Run the server, which answers after ``delay`` seconds; give its URL."""
    command = [sys.executable, "-S", __file__, str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def main() -> None:
    """Serve until the process is ended; the argument is the delay."""
    delay = float(sys.argv[1])
    body = json.dumps(ACCOUNT).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(connection, head + body, delay), daemon=True).start()


def _serve(connection: socket.socket, answer: bytes, delay: float) -> None:
    own_id = str(ACCOUNT["id"]).encode()
    received = b""
    with connection, suppress(ConnectionError):
        while data := connection.recv(65536):
            received += data
            head, end, body = received.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if end and len(body) >= int(length[1] if length else 0):
                received = b""  # nobody sends a second request before the first is answered
                if delay:
                    time.sleep(delay)
                asked = _ID.search(head)
                connection.sendall(answer.replace(own_id, asked[1]) if asked else answer)


if __name__ == "__main__":
    main()
