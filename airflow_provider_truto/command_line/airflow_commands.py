"""The commands as Airflow's own command line takes them from a provider, since Airflow 3.2."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from airflow_provider_truto.command_line.commands import COMMANDS, EXIT_CODES, Command


def get_commands() -> list[Any]:
    """Return the group `truto`. Airflow calls this whenever `airflow` is run."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    return [
        GroupCommand(
            name="truto",
            help="Look into Truto, its customers, bodies and ledgers of bulks",
            subcommands=[
                ActionCommand(
                    name=command.name,
                    help=command.help,
                    description=command.description,
                    epilog=EXIT_CODES,
                    func=_Runner(command),
                    args=[Arg(flags, **options) for flags, options in command.arguments],
                )
                for command in COMMANDS
            ],
        )
    ]


class _Runner:
    """What Airflow calls with the parsed arguments."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self.__name__ = f"truto_{command.name}"

    def __call__(self, given: Namespace) -> None:
        from airflow_provider_truto.command_line.run import run

        sys.exit(run(self._command, given))
