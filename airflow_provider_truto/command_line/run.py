"""Running a command: where its output goes, and what its exit code is."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any, TextIO

from airflow_provider_truto.command_line.commands import COMMANDS, EXIT_CODES, Command

_UNKNOWN = 3


def main(arguments: Sequence[str] | None = None, *, stdout: TextIO | None = None) -> int:
    """Run `python -m airflow_provider_truto`; return its exit code. `stdout` takes the answer instead of fd 1."""
    given = build_parser().parse_args(arguments)
    return run(given.command, given, stdout=stdout)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; what it has parsed has the `Command` as `command`."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_truto",
        description="Look into Truto, its customers, bodies and ledgers of bulks from a shell.",
        epilog=EXIT_CODES,
    )
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        of_command = parsers.add_parser(
            command.name, help=command.help, description=command.description, epilog=EXIT_CODES
        )
        for flags, options in command.arguments:
            of_command.add_argument(*flags, **options)
        of_command.set_defaults(command=command)
    return parser


def run(command: Command, given: argparse.Namespace, *, stdout: TextIO | None = None) -> int:
    """Run a command with its parsed arguments; return its exit code."""
    module, _, name = command.function.partition(":")
    if command.name == "emulator":
        return int(getattr(import_module(module), name)(given))
    with nullcontext(stdout) if stdout else _redirect_logs_to_stderr() as out:
        try:
            output = getattr(import_module(module), name)(given)
        except Exception as error:
            sys.stderr.write(f"{_describe(error)}\n")
            return _UNKNOWN
        lines = [json.dumps(output.value, indent=2, ensure_ascii=False)] if given.json else output.lines
        try:
            out.writelines(f"{line}\n" for line in lines)
            out.flush()
        except BrokenPipeError:  # a pager that was left
            pass
    return 0 if output.is_good else 1


@contextmanager
def _redirect_logs_to_stderr() -> Iterator[TextIO]:
    """Have what Airflow logs to stdout go to stderr, so that the output can be read by a program."""
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    try:
        with open(real, "w", encoding="utf-8", closefd=False) as stdout:
            yield stdout
    finally:
        sys.stdout.flush()
        os.dup2(real, 1)
        os.close(real)


def _describe(error: Exception) -> str:
    """Return an error's text: of a file, what is the matter with it; of Python's own kinds, the class as well."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename} cannot be read: {error.strerror}. Check the path, and who may read it"
    text: Any = str(error)
    is_told = type(error).__module__ != "builtins" or type(error) is ValueError
    return text if text and is_told else f"{type(error).__name__}: {text}"
