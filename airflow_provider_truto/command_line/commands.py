"""The commands and their arguments, for argparse and for Airflow alike. It imports nothing that takes time."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_provider_truto.emulator.options import OPTIONS

EXIT_CODES = (
    "Exit codes: 0 all is well; 1 the answer is no (it does not work, is not valid, has failed, is not there);"
    " 2 wrong arguments; 3 it could not be found out (no such connection or file, an error of Truto's)."
)


class Argument(NamedTuple):
    """An argument as `argparse.ArgumentParser.add_argument` takes it."""

    flags: tuple[str, ...]
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command: its name, a line of help, a text that teaches, and where its function is (`module:name`)."""

    name: str
    help: str
    description: str
    function: str
    arguments: Sequence[Argument]


def _parse_count(text: str) -> int:
    """Read a number of lines: below 0, it would leave out those at the end."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"expects a whole number, 0 or more, got {text!r}")
    return int(text)


def _argument(*flags: str, **options: Any) -> Argument:
    return Argument(flags, options)


_HERE = "airflow_provider_truto.command_line"
_JSON = _argument("--json", action="store_true", help="print JSON on stdout and nothing else")
_CONNECTION = _argument(
    "--conn-id", default="truto_default", metavar="CONN", help="the Airflow connection (default: truto_default)"
)
_OPERATION = _argument(
    "--operation",
    default="crm.accounts.update",
    metavar="MODEL.RESOURCE.METHOD",
    help="the call that the body is for (default: crm.accounts.update)",
)

COMMANDS = (
    Command(
        name="check",
        help="try a connection",
        description=(
            "Make one real call with a connection, as the button Test does: is the token good, and is the default"
            " customer's CRM connected? Works where Airflow has that button switched off."
            " Example: check truto_default"
        ),
        function=f"{_HERE}.connections:check",
        arguments=(_argument("conn_id", nargs="?", default="truto_default", metavar="CONN", help="its id"), _JSON),
    ),
    Command(
        name="accounts",
        help="list the customers",
        description=(
            "List the integrated accounts that the token sees: each is one customer's connection to one CRM, whose id"
            " is the integrated_account_id of an operator. Example: accounts --tenant acme --status active"
        ),
        function=f"{_HERE}.connections:list_accounts",
        arguments=(
            _argument("--tenant", metavar="ID", help="only this customer's: your own id of the customer"),
            _argument("--integration", metavar="NAME", help="only those of this CRM, such as hubspot"),
            _argument("--status", metavar="STATUS", help="only those in this status, such as active or needs_reauth"),
            _CONNECTION,
            _JSON,
        ),
    ),
    Command(
        name="capabilities",
        help="say what can be called for a customer, or for a CRM",
        description=(
            "List the resources and methods that Truto offers for one integrated account, which is named by its id or"
            " by the customer's (tenant_id), or with --integration for any account of a CRM."
            " Example: capabilities acae0000-0000-4000-8000-000000000001"
        ),
        function=f"{_HERE}.connections:show_capabilities",
        arguments=(
            _argument(
                "account",
                nargs="?",
                metavar="ACCOUNT",
                help="the integrated account, or your own id of the customer (default: the connection's)",
            ),
            _argument("--integration", metavar="NAME", help="ask about this CRM instead, such as hubspot"),
            _CONNECTION,
            _JSON,
        ),
    ),
    Command(
        name="schema",
        help="show the fields that a call takes",
        description=(
            "Show the fields of a body: without an account those that this package checks bodies with, with --account"
            " or --integration those that Truto names for that CRM. --json prints the JSON Schema."
            " Example: schema --account acae0000-0000-4000-8000-000000000001"
        ),
        function=f"{_HERE}.bodies:show_schema",
        arguments=(
            _OPERATION,
            _argument("--account", metavar="ACCOUNT", help="ask Truto what this customer takes, by either id"),
            _argument("--integration", metavar="NAME", help="ask Truto what this CRM takes"),
            _CONNECTION,
            _JSON,
        ),
    ),
    Command(
        name="validate",
        help="check a body, or the records of a bulk, without a call",
        description=(
            "Check what an operator would check before it sends anything, and list all problems. FILE.json holds one"
            " body; .jsonl, .ndjson, .csv and .parquet (also .gz) hold the records of a bulk, of which the first"
            " hundred with problems are told. Nothing is sent. Example: validate changes.csv"
        ),
        function=f"{_HERE}.bodies:validate_file",
        arguments=(
            _argument("file", metavar="FILE", help="a path, or a URL of a storage that Airflow knows"),
            _OPERATION,
            _argument("--schema", metavar="FILE.json", help="check with this JSON Schema instead of the package's"),
            _argument(
                "--extra-field",
                action="append",
                default=[],
                metavar="NAME",
                help="let this field pass that the schema does not have: a name or a JSON pointer; may be repeated",
            ),
            _argument("--delimiter", default=",", metavar="CHAR", help="what separates the cells of a CSV"),
            _JSON,
        ),
    ),
    Command(
        name="ledger",
        help="say what became of a bulk, or of one record",
        description=(
            "Read the ledgers below a folder: the output_path of a bulk, or a folder of a DAG, run or task in it."
            " Counts what became of the records and lists failures; with --record, each line about one record."
            " Exit code 1 where a record has failed. Example: ledger s3://aws_default@bucket/ledgers/crm --failures 5"
        ),
        function=f"{_HERE}.ledgers:show_ledger",
        arguments=(
            _argument("path", metavar="PATH", help="a folder, or a URL of a storage that Airflow knows"),
            _argument("--record", metavar="ID", help="show the history of the record of this id"),
            _argument(
                "--failures",
                type=_parse_count,
                default=20,
                metavar="N",
                help="list so many failures per ledger (default: 20)",
            ),
            _JSON,
        ),
    ),
    Command(
        name="emulator",
        help="run a Truto on this machine",
        description=(
            "Run the emulator until Ctrl-C, with a page for your browser; needs the extra emulator."
            " Example: emulator --port 8765 --rate-limits"
        ),
        function="airflow_provider_truto.emulator.__main__:serve",
        arguments=tuple(Argument(flags, options) for flags, options in OPTIONS),
    ),
)
