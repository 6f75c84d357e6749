"""What became of one record, as a line of the ledger."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, get_args

from airflow_provider_truto.bulk.ledger_files import (
    find_fault_in,
    is_count,
    is_flag,
    is_list_of,
    is_text,
    is_whole_number,
)
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.client.errors import TrutoApiError, TrutoError, TrutoSchemaError
from airflow_provider_truto.client.request import encode_json
from airflow_provider_truto.client.values import Value
from airflow_provider_truto.records.coerce import coerce
from airflow_provider_truto.records.pipeline import RecordResult
from airflow_provider_truto.records.request import OnNone
from airflow_provider_truto.records.verify import describe_doubts, find_not_confirmed, verify

Status = Literal["updated", "created", "unchanged", "failed", "skipped"]
#: The error of a record that was written, and whose answer does not confirm all of it.
NOT_CONFIRMED = "not_confirmed"
#: Statuses of records that are as they should be.
DONE = frozenset({"updated", "created", "unchanged"})
#: What is counted: the statuses, of which ``skipped`` is without the rows that were passed over on purpose.
OUTCOMES: tuple[str, ...] = (*get_args(Status), "tolerated")
_LONGEST_MESSAGE = 2_000
#: What ``matching.rule`` makes.
_KEY = re.compile("(?:[0-9a-f]{2})+")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class ResultRow(Value):
    """One line of a results file; it holds no body.

    ``status``: ``created``, ``updated`` (for any other write that was made), ``unchanged`` (nothing had to be sent),
    ``failed``, or ``skipped``, where the customer's account was given up before, or it was passed over on purpose:
    ``tolerated``, which is not a failure, see ``record.Skip``. ``transient``: a later try sends it again.
    ``place`` says where in a file the row stands.
    ``integrated_account_id`` is empty where the row named none that could be used, and no default may step in.
    ``match`` are the keys by which the row found its record or created it, see ``matching.rule``; the first one says
    which row it is.
    For the state of ``changed_only``: ``key`` and ``content`` are hashes of which record it is and of what it is to
    be; ``fields`` are the JSON pointers that it sets, as JSON; ``on_removed``: what was done about one that left the
    source.
    ``again``: since which try the record is sent once more although it was done, as an earlier one of its id was. Of
    the lines of a record, those with the highest ``again`` count; of these a success, else the latest.
    """

    ordinal: int
    id: str | None
    integrated_account_id: str | None
    status: Status
    http_status: int | None = None
    attempts: int = 0
    idempotency_key: str | None = None
    error: str | None = None
    message: str | None = None
    transient: bool = False
    tolerated: bool = False
    not_confirmed: tuple[str, ...] = ()
    place: str | None = None
    match: tuple[str, ...] = ()
    key: int | None = None
    content: int | None = None
    fields: str | None = None
    on_removed: str | None = None
    again: int | None = None

    @classmethod
    def of_result(
        cls, done: RecordResult, record: Record, *, account_id: str, fails_unconfirmed: bool = False
    ) -> ResultRow:
        """Build the row of a record that went well.

        ``fails_unconfirmed``: it failed where the answer does not confirm all of it, although it was written.
        """
        result = done.result
        facts = _record_facts(record, account_id)
        facts["message"], facts["match"] = record.note, tuple(chain.from_iterable(record.match_keys))
        if result is None:
            return _BLANK.replace(**facts, status="unchanged")
        if record.id is None and isinstance(done.response, dict) and isinstance(done.response.get("id"), str):
            facts["id"] = done.response["id"]
        written = _BLANK.replace(
            **facts,
            status="created" if done.request.method == "create" else "updated",
            http_status=result.response.status,
            attempts=result.attempts,
            idempotency_key=result.request.idempotency_key,
            not_confirmed=find_not_confirmed(done.request, done.response),
        )
        if not (fails_unconfirmed and written.not_confirmed):
            return written
        doubts = describe_doubts(done.request, done.response, verify(done.request, done.response))
        message = _shorten(f"{doubts} The write HAS happened; verify='fail' counts the record as failed for it.")
        return written.replace(status="failed", error=NOT_CONFIRMED, message=message)

    @classmethod
    def of_unsent(cls, record: Record, *, account_id: str) -> ResultRow:
        """Build the row of a record that asks for nothing, or is passed over."""
        facts = _record_facts(record, account_id)
        if record.skip is None:
            return _BLANK.replace(**facts, status="unchanged", message=record.left_out)
        code, message = record.skip
        return _BLANK.replace(**facts, status="skipped", error=code, message=_shorten(message), tolerated=True)

    @classmethod
    def of_error(
        cls,
        error: TrutoError,
        record: Record,
        *,
        account_id: str,
        skipped_since: str | None = None,
        is_tolerated: bool = False,
    ) -> ResultRow:
        """Build the row of a record that failed, or was skipped because of another record's error.

        ``skipped_since`` says why it was skipped: the error's own message tells of the other record.
        ``is_tolerated``: ``skip_on`` names the error.
        """
        is_skipped = skipped_since is not None
        message = str(error) if skipped_since is None else f"skipped, not sent: {skipped_since}"
        return _BLANK.replace(
            **_record_facts(record, account_id),
            status="skipped" if is_skipped or is_tolerated else "failed",
            http_status=(error.status or None) if isinstance(error, TrutoApiError) and not is_skipped else None,
            attempts=0 if is_skipped else error.attempts,
            idempotency_key=None if is_skipped else error.idempotency_key,
            error=error.code,
            message=_shorten(message),
            transient=error.transient and not is_tolerated and not isinstance(error, TrutoSchemaError),
            tolerated=is_tolerated,
        )

    @property
    def outcome(self) -> str:
        """One of ``OUTCOMES``."""
        return "tolerated" if self.tolerated else self.status

    @property
    def is_written(self) -> bool:
        """Whether a failed record was written all the same: it must not be sent as one that was not."""
        return self.error == NOT_CONFIRMED

    @property
    def is_done(self) -> bool:
        """Whether the record is as it should be."""
        return self.status in DONE

    @property
    def is_failure(self) -> bool:
        """Whether the record failed, or was skipped although nobody said so."""
        return not self.is_done and not self.tolerated

    @property
    def is_final(self) -> bool:
        """Whether a later try leaves the record alone."""
        return self.is_done or not self.transient

    def line(self) -> bytes:
        """Write the row; what it does not have is left out."""
        shown = {
            name: value
            for name, value in vars(self).items()
            if value is not None and value is not False and value != ()
        }
        return _encode_line(shown)

    @classmethod
    def read(cls, line: bytes) -> ResultRow:
        """Read a line. Raises ``ValueError`` where it is torn, or no row."""
        row = _parse_object(line, _ROW)
        if unknown := row.keys() - _ROW.keys():
            raise ValueError(f"no row has {min(unknown)!r}")
        return cls(
            **{
                "id": None,
                "integrated_account_id": None,
                **row,
                **{name: tuple(row.get(name, ())) for name in ("not_confirmed", "match")},
            }
        )


#: The row that others are copies of: that takes a third of the time that making one does.
_BLANK = ResultRow(ordinal=0, id=None, integrated_account_id=None, status="unchanged")


def show_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the numbers of records by ``OUTCOMES`` as users see them: by status, and how many are tolerated."""
    shown = {outcome: counts.get(outcome, 0) for outcome in OUTCOMES}
    return {**shown, "skipped": shown["skipped"] + shown["tolerated"]}


def count_failures(shown: Mapping[str, int]) -> int:
    """Return how many records have failed, of numbers as ``show_counts`` returns them."""
    return shown["failed"] + shown["skipped"] - shown.get("tolerated", 0)


def _shorten(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}…"


def _record_facts(record: Record, account_id: str) -> dict[str, Any]:
    """Return what each row says of its record; an empty account stays one, so that what is fed back stays refused."""
    return {
        "ordinal": record.ordinal,
        "id": record.id,
        "integrated_account_id": account_id or record.integrated_account_id,
        "place": record.place,
        "key": record.key,
        "content": record.content,
        "fields": record.fields,
        "on_removed": record.on_removed,
    }


_ROW = {
    "ordinal": (True, is_count),
    "status": (True, lambda value: is_text(value) and value in get_args(Status)),
    **dict.fromkeys(
        ("id", "integrated_account_id", "idempotency_key", "error", "message", "place", "fields", "on_removed"),
        (False, is_text),
    ),
    **dict.fromkeys(("key", "content"), (False, is_whole_number)),
    **dict.fromkeys(("http_status", "attempts", "again"), (False, is_count)),
    **dict.fromkeys(("transient", "tolerated"), (False, is_flag)),
    "not_confirmed": (False, is_list_of(is_text)),
    "match": (False, is_list_of(lambda value: is_text(value) and _KEY.fullmatch(value) is not None)),
}
_PENDING = {"keys": (True, is_list_of(is_whole_number)), "ordinals": (True, is_list_of(is_count))}
_FAILURE = {"ordinal": (True, is_count), "error": (True, lambda value: isinstance(value, dict))}


@dataclass(frozen=True, kw_only=True)
class FailedBody:
    """A body as a failures file holds it, and the JSON pointers at which it is not what was to be sent.

    ``tenant_id`` and ``integration`` are what the record named its customer by, if it did.
    """

    body: Any
    unwritable: tuple[str, ...] = ()
    tenant_id: str | None = None
    integration: str | None = None


def encode_failed_body(record: Record, *, on_none: OnNone) -> FailedBody:
    """Write a failed record's body so that it means the same when it is a source: what JSON cannot hold is named.

    What ``on_none`` leaves out is left out. A null that is meant is null, as any other that comes from a file.
    """
    plain = coerce(
        record.body,
        {},
        on_none="omit" if on_none == "omit" else "null",
        data_of=None if record.nulls_are_meant else "the record",
    )
    unwritable = [problem.pointer.rstrip("/") for problem in plain.problems]
    try:
        encode_json(plain.value)
    except (TypeError, ValueError):
        unwritable.append("")  # such as a lone surrogate
    return FailedBody(
        body=plain.value,
        unwritable=tuple(unwritable),
        tenant_id=record.tenant_id,
        integration=record.integration,
    )


def encode_failure(row: ResultRow, failed: FailedBody) -> bytes:
    """Write a failed record as a line that can be a source again, with what was wrong beside it."""
    record: Mapping[str, Any] = {
        "id": row.id,
        "body": failed.body,
        "integrated_account_id": None if failed.tenant_id else row.integrated_account_id,
        "tenant_id": failed.tenant_id,
        "integration": failed.integration,
        "unwritable": list(failed.unwritable) or None,
        "written": row.is_written or None,
        "ordinal": row.ordinal,
        "place": row.place,
        "error": {"status": row.status, "error": row.error, "http_status": row.http_status, "message": row.message},
    }
    return _encode_line({name: value for name, value in record.items() if value is not None})


def encode_pending(records: Sequence[tuple[int, int]]) -> bytes:
    """Write which records are about to be written: their keys in the state, and their ordinals."""
    return _encode_line({"keys": [key for key, _ in records], "ordinals": [ordinal for _, ordinal in records]})


def parse_pending(line: bytes) -> list[tuple[int, int]]:
    """Read them. Raises ``ValueError`` where a line is torn, or something else."""
    found = _parse_object(line, _PENDING)
    return list(zip(found["keys"], found["ordinals"], strict=True))


def parse_failure_ordinal(line: bytes) -> int:
    """Read whose failure a line is. Raises ``ValueError`` where it is not a failure."""
    ordinal: int = _parse_object(line, _FAILURE)["ordinal"]
    return ordinal


def _parse_object(line: bytes, shape: Mapping[str, tuple[bool, Callable[[Any], bool]]]) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if fault := find_fault_in(value, shape):
        raise ValueError(fault)
    found: dict[str, Any] = value
    return found


def _encode_line(value: Mapping[str, Any]) -> bytes:
    return _JSON.encode(value).encode(errors="replace") + b"\n"
