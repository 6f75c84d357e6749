"""One record of a bulk: what is to be done, in which customer's CRM, and where it stood in the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.client.names import CUSTOMER_NAMES, find_nearest
from airflow_provider_truto.client.numbers import to_whole_number
from airflow_provider_truto.client.values import Value
from airflow_provider_truto.records.render import Missing
from airflow_provider_truto.records.scalars import is_nothing, to_number, to_plain_text

#: What a failures file has beside the record itself, so that it can be a source as it is.
_OF_FAILURES = frozenset({"ordinal", "place", "error", "unwritable"})
#: What a record has.
RECORD_KEYS = ("id", "body", "integrated_account_id")
#: What people call the customer and the record, and what a record calls them.
MEANINGS = {
    **dict.fromkeys((*CUSTOMER_NAMES, "tenant", "integration"), "integrated_account_id"),
    **dict.fromkeys(("id", "record_id", "account_id"), "id"),
    "account": "integrated_account_id, or id",
    "body": "body",
}
NO_ACCOUNT = "is empty: a row that names a customer must not go to the default one"


@dataclass(frozen=True, kw_only=True)
class Record(Value):
    """One row of a source, as a write. ``ordinal`` counts rows from 0; a row with ``problems`` is never sent.

    ``integrated_account_id``: ``None`` where the row names none, so that the default one steps in; ``""`` where it
    names one that cannot be, or is not a record, so that it does not.
    ``nulls_are_meant``: a ``None`` in the body clears a field; else it came as data and may be an accident.
    ``left_out`` says why nothing is to be sent. ``place`` says where to find the row, as ``line 7 of a.csv``.
    """

    ordinal: int
    id: str | None = None
    body: Any = None
    integrated_account_id: str | None = None
    nulls_are_meant: bool = False
    problems: tuple[Problem, ...] = ()
    left_out: str | None = None
    place: str | None = None

    @property
    def label(self) -> str:
        """Return, for messages, which row it is."""
        return describe_row(self.ordinal, self.place)


def describe_row(ordinal: int, place: str | None) -> str:
    """Name a row for messages: by its number in the ledger, and by where an editor finds it."""
    return f"row {ordinal}" if place is None else f"row {ordinal} ({place})"


def parse_record(row: Any, ordinal: int, *, needs_id: bool = True, needs_body: bool = True) -> Record:
    """Read a row ``{"id", "body", "integrated_account_id"?}``. What is wrong with it becomes its problems.

    Ids that are whole numbers become text. Raises nothing.
    """
    if not isinstance(row, Mapping):
        return make_unreadable(ordinal, Problem("/", f"is {type(row).__name__}, not an object with id and body"))
    problems = [
        Problem(f"/{key}", f"means nothing here: a record has {', '.join(RECORD_KEYS)}{_suggest(key)}")
        for key in row
        if key not in RECORD_KEYS and key not in _OF_FAILURES
    ]
    record_id, account = (normalize_id(row.get(key)) for key in ("id", "integrated_account_id"))
    if needs_id and record_id in (None, ""):
        problems.append(Problem("/id", "is missing or empty"))
    if account == "" or (account is None and "integrated_account_id" in row):
        problems.append(Problem("/integrated_account_id", NO_ACCOUNT))
    for key, value in (("id", record_id), ("integrated_account_id", account)):
        if value is not None and not isinstance(value, str):
            problems.append(Problem(f"/{key}", describe_not_text(value)))
    if needs_body and row.get("body") is None:
        problems.append(Problem("/body", "is missing"))
    problems += _find_unwritable(row.get("unwritable"))
    return Record(
        ordinal=ordinal,
        id=record_id if isinstance(record_id, str) else None,
        body=row.get("body"),
        integrated_account_id=read_account_id(account, is_named="integrated_account_id" in row),
        problems=tuple(problems),
    )


def _suggest(key: Any) -> str:
    near = find_nearest(key, MEANINGS) if isinstance(key, str) else None
    return f"; did you mean {MEANINGS[near]}?" if near else ""


def _find_unwritable(pointers: Any) -> list[Problem]:
    """Refuse a line of a failures file that is not what was to be sent; see ``result_row.encode_failed_body``."""
    if pointers is None:
        return []
    if not isinstance(pointers, list) or not all(isinstance(pointer, str) for pointer in pointers):
        return [Problem("/unwritable", "expects a list of JSON pointers into the body")]
    message = (
        "could not be written into a failures file as it was: put the value there that is to be sent, and take the"
        " pointer out of `unwritable`"
    )
    return [Problem(f"/body{pointer}".rstrip("/"), message) for pointer in pointers]


def read_account_id(given: Any, *, is_named: bool) -> str | None:
    """Return the customer that a row names: ``""`` where it names one that cannot be, so that no default steps in."""
    if isinstance(given, str):
        return given
    return "" if is_named else None


def parse_mapped_record(made: Mapping[str, Any], ordinal: int, *, needs_id: bool, needs_body: bool) -> Record:
    """Make the record of rendered templates: what is ``None`` in the body was written in the DAG file.

    Raises nothing; an id that is ``Missing`` becomes a problem.
    """
    missing = [Problem(f"/{key}", made[key].reason) for key in RECORD_KEYS if isinstance(made.get(key), Missing)]
    record = parse_record(
        {key: value for key, value in made.items() if not isinstance(value, Missing)},
        ordinal,
        needs_id=needs_id and not isinstance(made.get("id"), Missing),
        needs_body=needs_body and not isinstance(made.get("body"), Missing),
    )
    if isinstance(made.get("integrated_account_id"), Missing):
        record = record.replace(integrated_account_id="")
    return record.replace(nulls_are_meant=True, problems=(*missing, *record.problems))


def make_unreadable(ordinal: int, *problems: Problem) -> Record:
    """Make the record of a row that could not be read; its customer is unknown."""
    return Record(ordinal=ordinal, integrated_account_id="", problems=problems)


def make_left_out(ordinal: int, reason: str) -> Record:
    """Make the record of a row for which nothing is to be sent."""
    return Record(ordinal=ordinal, integrated_account_id="", left_out=reason)


def describe_not_text(value: Any) -> str:
    """Return why a value is not an id."""
    if isinstance(value, float) and value.is_integer():
        return f"expects text, got {value}: had its column a NULL on its way through pandas? Make it whole, or text"
    return f"expects text, got {type(value).__name__}"


def normalize_id(value: Any) -> Any:
    """Write whole numbers and UUIDs as text, whatever library they are of; a warehouse gives them as Decimal, too."""
    if isinstance(value, str):
        return to_plain_text(value)
    if isinstance(value, UUID):
        return str(value)
    if is_nothing(value):
        return None
    number = to_number(value)
    whole = None if number is None or isinstance(number, bool) else to_whole_number(number)
    return value if whole is None else str(whole)
