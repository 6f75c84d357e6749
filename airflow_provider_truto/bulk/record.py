"""One record of a bulk: what is to be done, in which customer's CRM, and where it stood in the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from airflow_provider_truto.client.accounts import normalize_account
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.client.names import ACCOUNT_NAMES, CUSTOMER_ARGUMENTS, find_nearest
from airflow_provider_truto.client.numbers import to_whole_number
from airflow_provider_truto.client.values import Value
from airflow_provider_truto.records.render import Missing
from airflow_provider_truto.records.scalars import is_nothing, to_number, to_plain_text

#: What a failures file has beside the record itself, so that it can be a source as it is.
_OF_FAILURES = frozenset({"ordinal", "place", "error", "unwritable", "written"})
_WRITTEN = (
    "says that this was written already, and that the answer did not confirm all of it: look at the record in the"
    " CRM, and take `written` out of the line where it is to be written once more"
)
#: What a record has.
RECORD_KEYS = ("id", "body", *CUSTOMER_ARGUMENTS)
#: What people call the customer and the record, and what a record calls them.
MEANINGS = {
    **dict.fromkeys(ACCOUNT_NAMES, "integrated_account_id"),
    **dict.fromkeys(("tenant_id", "tenant"), "tenant_id"),
    "integration": "integration",
    **dict.fromkeys(("id", "record_id", "account_id"), "id"),
    "account": "integrated_account_id, or id",
    "body": "body",
}
NO_ACCOUNT = "is empty: a row that names a customer must not go to the default one"


class Skip(NamedTuple):
    """Why a row is not sent although it asks for a write: the DAG author said to pass over such rows.

    ``code`` is the name of what was found, as ``"not_found"``, ``message`` says it with its ids. It becomes a
    *tolerated* row of the ledger: status ``skipped``, ``tolerated: true``. That is not a failure: it does not count
    for ``max_failures`` and ``stop_after``, and is not in the failures file. A retry leaves it alone; a cleared task
    decides again.
    """

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Record(Value):
    """One row of a source, as a write. ``ordinal`` counts rows from 0; a row with ``problems`` is never sent.

    ``integrated_account_id``: ``None`` where the row names none, so that the default one steps in; ``""`` where it
    names one that cannot be, or names it by ``tenant_id`` (and ``integration``), or is not a record, so that it does
    not. Which account a tenant has is looked up before the record is queued.
    ``nulls_are_meant``: a ``None`` in the body clears a field; else it came as data and may be an accident.
    ``left_out`` says why nothing is to be sent, for a row that asks for nothing; ``skip`` for one that is passed over
    on purpose. ``place`` says where to find the row, as ``line 7 of a.csv``.
    ``key``, ``content`` and ``fields`` are for the state, see ``ResultRow``. ``is_unchanged``: it is as it was
    confirmed last, so that nothing is sent; one that has a ``key`` is sent if an earlier row has found its record in
    this run. ``is_repeated``: it is so, and sent since this run sends everything.
    ``on_removed``: it has left the source, and this is what is done then.
    ``match_keys`` are what a row without an id finds its record by, in the order of the alternatives, see
    ``matching.rule``. ``is_remembered``: the id is not the row's, but that of an earlier run for these keys. ``note``
    is what its line in the ledger says where it goes well.
    """

    ordinal: int
    id: str | None = None
    body: Any = None
    integrated_account_id: str | None = None
    tenant_id: str | None = None
    integration: str | None = None
    nulls_are_meant: bool = False
    problems: tuple[Problem, ...] = ()
    left_out: str | None = None
    skip: Skip | None = None
    place: str | None = None
    key: int | None = None
    content: int | None = None
    fields: str | None = None
    is_unchanged: bool = False
    is_repeated: bool = False
    on_removed: str | None = None
    match_keys: tuple[tuple[str, ...], ...] = ()
    is_remembered: bool = False
    note: str | None = None

    @property
    def match_key(self) -> str:
        """The first of its keys, which says in all runs which record a row means; ``""`` without one."""
        return next((key for keys in self.match_keys for key in keys), "")

    @property
    def is_nameless(self) -> bool:
        """Whether its keys have to find its record first."""
        return self.id is None and bool(self.match_keys) and self.is_sent

    @property
    def is_removed(self) -> bool:
        """Whether it is not in the source any more."""
        return self.on_removed is not None

    @property
    def is_sent(self) -> bool:
        """Whether anything is to be sent, as far as the record tells."""
        return not (self.problems or self.left_out is not None or self.skip is not None or self.is_unchanged)

    @property
    def label(self) -> str:
        """Return, for messages, which record it is, and which row."""
        return describe_row(self.ordinal, self.place, self.id)


def describe_row(ordinal: int, place: str | None, record_id: str | None = None) -> str:
    """Name a row for messages: by the id of its record, by its number in the ledger, and by where an editor finds it.

    ``record r7 (row 6, line 8 of a.csv)``; without an id ``row 6 (line 8 of a.csv)``.
    """
    if record_id is None:
        return f"row {ordinal}" if place is None else f"row {ordinal} ({place})"
    return f"record {record_id} (row {ordinal})" if place is None else f"record {record_id} (row {ordinal}, {place})"


def parse_record(row: Any, ordinal: int, *, needs_id: bool = True, needs_body: bool = True) -> Record:
    """Read a row ``{"id", "body", "integrated_account_id"?}``. What is wrong with it becomes its problems.

    Ids that are whole numbers become text. Raises nothing.
    """
    if (plain := _parse_plain_row(row, ordinal)) is not None:
        return plain
    if not isinstance(row, Mapping):
        return make_unreadable(ordinal, Problem("/", f"is {type(row).__name__}, not an object with id and body"))
    problems = [
        Problem(f"/{key}", f"means nothing here: a record has {', '.join(RECORD_KEYS)}{_suggest(key)}")
        for key in row
        if key not in RECORD_KEYS and key not in _OF_FAILURES
    ]
    record_id = normalize_id(row.get("id"))
    if needs_id and record_id in (None, ""):
        problems.append(Problem("/id", "is missing or empty"))
    if record_id is not None and not isinstance(record_id, str):
        problems.append(Problem("/id", describe_not_text(record_id)))
    customer, of_customer = read_customer({key: normalize_id(row[key]) for key in CUSTOMER_ARGUMENTS if key in row})
    if needs_body and row.get("body") is None:
        problems.append(Problem("/body", "is missing"))
    problems += _find_unwritable(row.get("unwritable"))
    if row.get("written"):
        problems.append(Problem("/written", _WRITTEN))
    return Record(
        ordinal=ordinal,
        id=record_id if isinstance(record_id, str) else None,
        body=row.get("body"),
        **customer._asdict(),
        problems=(*problems, *of_customer),
    )


#: The keys of most rows, and a record of which theirs are copies: both save a quarter of the time of reading a row.
_PLAIN_KEYS = frozenset({"id", "body", "integrated_account_id"})
_PLAIN = Record(ordinal=0)


def _parse_plain_row(row: Any, ordinal: int) -> Record | None:
    """Read a row that has just these keys with nothing to be said of them; ``None`` for any other."""
    if type(row) is not dict or row.keys() != _PLAIN_KEYS:
        return None
    record_id, body, account = row["id"], row["body"], row["integrated_account_id"]
    is_plain = type(record_id) is str and type(account) is str and record_id and account.strip() and body is not None
    if not is_plain:
        return None
    return _PLAIN.replace(ordinal=ordinal, id=record_id, body=body, integrated_account_id=normalize_account(account))


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


class Customer(NamedTuple):
    """What a row names its customer by; see ``Record`` for the fields."""

    integrated_account_id: str | None
    tenant_id: str | None
    integration: str | None


_UNNAMED = Customer(None, None, None)


def read_customer(given: Mapping[str, Any]) -> tuple[Customer, list[Problem]]:
    """Read what a row names its customer by, and what is wrong with it.

    ``given`` has those of ``CUSTOMER_ARGUMENTS`` that the row has, normalized.
    """
    if not given:
        return _UNNAMED, []
    problems = [
        Problem(f"/{key}", describe_not_text(value))
        for key, value in given.items()
        if value is not None and not isinstance(value, str)
    ]
    account, tenant, integration = (_to_named(given.get(key)) for key in CUSTOMER_ARGUMENTS)
    named = [key for key in ("integrated_account_id", "tenant_id") if key in given]
    if account and tenant:
        problems.append(Problem("/tenant_id", "is given beside integrated_account_id: name the customer in one way"))
    elif named and not (account or tenant or problems):
        problems.append(Problem(f"/{named[0]}", NO_ACCOUNT))
    if integration and not tenant:
        problems.append(Problem("/integration", "is given without tenant_id: it alone names no customer"))
    is_named = bool(named or integration)
    named_account = normalize_account(account) if account else "" if is_named else None
    return Customer(named_account, tenant, integration), problems


def _to_named(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


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
    if any(isinstance(made.get(key), Missing) for key in CUSTOMER_ARGUMENTS):
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
    """Write whole numbers and UUIDs as text, whatever library they are of; a warehouse may return a Decimal."""
    if isinstance(value, str):
        return to_plain_text(value)
    if isinstance(value, UUID):
        return str(value)
    if is_nothing(value):
        return None
    number = to_number(value)
    whole = None if number is None or isinstance(number, bool) else to_whole_number(number)
    return value if whole is None else str(whole)
