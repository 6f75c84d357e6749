"""`python -m airflow_provider_truto.emulator`: an emulator in a process of its own, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TextIO

from airflow_provider_truto.emulator.options import OPTIONS
from airflow_provider_truto.emulator.state.seed import SeedError
from airflow_provider_truto.emulator.state.state import State


def main() -> int:
    """Serve what the process was started with; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_truto.emulator", description="A Truto API on loopback, in memory."
    )
    for flags, options in OPTIONS:
        parser.add_argument(*flags, **options)
    return serve(parser.parse_args())


def serve(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; return 0, 1 where it cannot listen and 2 for wrong arguments."""
    try:
        from airflow_provider_truto.emulator.http.callers import is_loopback
        from airflow_provider_truto.emulator.http.server import Server, build_url, listen
    except ImportError as error:
        return _fail(1, str(error))
    try:
        state = State(
            arguments.seed, rate_limits=arguments.rate_limits, account_token_life=arguments.account_token_life
        )
    except SeedError as error:
        return _fail(2, str(error))
    # uvicorn raises the signal again after its own shutdown: that is where this handler ends the process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        listener = listen(arguments.host, arguments.port)
    except (OSError, OverflowError) as error:  # the latter for a port above 65535
        return _fail(1, f"cannot listen on {arguments.host}:{arguments.port}: {error}")
    url = build_url(listener)
    if not is_loopback(listener.getsockname()[0]):
        _write(sys.stderr, f"warning: anybody who reaches {url} can read and change all that it holds, and steer it")
    report = None if arguments.quiet else lambda line: _write(sys.stderr, line)
    hosts = [arguments.host, *arguments.allow_host]
    server = Server(state, on_ready=lambda: _write(sys.stdout, f"listening on {url}"), report=report, hosts=hosts)
    server.run([listener])
    return 0


def _fail(code: int, message: str) -> int:
    _write(sys.stderr, message)
    return code


def _write(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
