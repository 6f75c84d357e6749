"""`python -m airflow_provider_truto.emulator`: an emulator in a process of its own, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TextIO

from airflow_provider_truto.emulator.state.seed import SeedError
from airflow_provider_truto.emulator.state.state import State
from airflow_provider_truto.emulator.state.tokens import DEFAULT_LIFE


def main() -> None:
    """Serve until told to stop. Exits with 0, with 1 where it cannot listen and with 2 on wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_truto.emulator", description="A Truto API on loopback, in memory."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which it may be called, beside localhost and the address it listens on; may be repeated",
    )
    parser.add_argument("--seed", metavar="FILE.json", help="accounts, records and tokens to start with")
    parser.add_argument("--rate-limits", action="store_true", help="enforce Truto's limits and those of the CRMs")
    parser.add_argument(
        "--account-token-life",
        type=float,
        default=DEFAULT_LIFE,
        metavar="SECONDS",
        help="how long the token of an integrated account is good (default: %(default)g)",
    )
    parser.add_argument("--quiet", action="store_true", help="do not report every call on stderr")
    arguments = parser.parse_args()
    try:
        from airflow_provider_truto.emulator.http.callers import is_loopback
        from airflow_provider_truto.emulator.http.server import Server, build_url, listen
    except ImportError as error:
        parser.exit(1, f"{error}\n")
    try:
        state = State(
            arguments.seed, rate_limits=arguments.rate_limits, account_token_life=arguments.account_token_life
        )
    except SeedError as error:
        parser.error(str(error))
    # uvicorn raises the signal again after its own shutdown: that is where this handler ends the process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        listener = listen(arguments.host, arguments.port)
    except (OSError, OverflowError) as error:  # the latter for a port above 65535
        parser.exit(1, f"cannot listen on {arguments.host}:{arguments.port}: {error}\n")
    url = build_url(listener)
    if not is_loopback(listener.getsockname()[0]):
        _write(sys.stderr, f"warning: anybody who reaches {url} can read and change all that it holds, and steer it")
    report = None if arguments.quiet else lambda line: _write(sys.stderr, line)
    hosts = [arguments.host, *arguments.allow_host]
    server = Server(state, on_ready=lambda: _write(sys.stdout, f"listening on {url}"), report=report, hosts=hosts)
    server.run([listener])


def _write(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()


if __name__ == "__main__":
    main()
