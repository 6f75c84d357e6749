"""One request for one record, as the caller means it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, get_args

from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.client.values import Value

ResponseFormat = Literal["unified", "raw", "normalized", "stream"]
#: What a value means of which a template gave nothing: a problem, a field to leave out, or null.
OnNone = Literal["error", "omit", "null"]
RESPONSE_FORMATS: tuple[str, ...] = get_args(ResponseFormat)
#: A JSON Schema, the path of one, ``"packaged"`` for this package's own (where it has one), ``"live"`` for what Truto
#: says of this integration, or ``None`` to check no body.
SchemaSource = Mapping[str, Any] | str | PathLike[str] | None
PACKAGED = "packaged"
LIVE = "live"


@dataclass(frozen=True, kw_only=True)
class RecordRequest(Value):
    """A method of a resource, for one record or for a list; see the operators for the fields' meaning.

    ``model`` is ``None`` for the proxy API. ``id_name`` is what the caller calls ``record_id``, for messages;
    ``needs_id`` says that the method means nothing without one.
    ``tenant_id`` and ``integration`` may name the customer instead of ``integrated_account_id``.
    ``allow_null`` is true for null at every scalar, or the JSON pointers at which null is meant.
    ``text_advice`` says in messages how the caller makes text of a number. ``is_schema_valid``: the schema was made
    by this package, and need not be checked itself.
    """

    model: str | None
    resource: str
    method: str
    record_id: str | None = None
    id_name: str = "record_id"
    needs_id: bool = False
    body: Any = None
    query: Mapping[str, Any] | None = None
    integrated_account_id: str | None = None
    tenant_id: str | None = None
    integration: str | None = None
    response_format: str = "unified"
    ignore_remote_data: bool = True
    exclude_fields: Sequence[str] | None = None
    remote_query: Mapping[str, Any] | None = None
    schema: SchemaSource = PACKAGED
    is_schema_valid: bool = False
    extra_fields: Sequence[str] | None = None
    allow_null: bool | Collection[str] = False
    allow_empty: bool = False
    idempotency_key: str | None = None
    text_advice: str = "pass it as text"

    @property
    def operation(self) -> str:
        """``crm.accounts.update``, under which a packaged schema is found."""
        return f"{self.model}.{self.resource}.{self.method}"

    @property
    def is_read(self) -> bool:
        """Whether the method changes nothing at the CRM."""
        return self.method in {"list", "get"}

    @property
    def needs_body(self) -> bool:
        """Whether the method means nothing without a body; a custom method or a delete may go without."""
        return self.method in {"create", "update"}

    def __str__(self) -> str:
        subject = f"{self.model}/{self.resource}" if self.model else f"{self.resource} of the CRM"
        return f"{self.method} of {subject}{f' {self.record_id!r}' if self.record_id is not None else ''}"


#: What other names of Truto's own methods are theirs; any further name is a custom method's.
_MEANT = {name: name for name in ("list", "get", "create", "update", "delete")}
_MEANT |= {"patch": "update", "put": "update", "post": "create"}


def explain_method_slip(method: Any) -> str | None:
    """Return what is wrong with a method that spells one of Truto's own differently; ``None`` for any other name.

    It would be called as a custom method of that name: ``POST /unified/crm/accounts/patch``.
    """
    meant = _MEANT.get(method.lower()) if isinstance(method, str) else None
    return None if meant in (None, method) else f"would call a custom method {method!r}: did you mean {meant!r}?"


def find_untyped_flags(given: Any, *names: str) -> list[Problem]:
    """Return the problems of flags that are not true or false: text is neither, and ``"false"`` would mean yes."""
    return [
        Problem(f"/{name}", f"expects true or false, got {value!r}")
        for name in names
        if not isinstance(value := getattr(given, name), bool)
    ]


def build_account_update(account_id: str, body: Any, **given: Any) -> RecordRequest:
    """Return the update of one CRM account, ``PATCH /unified/crm/accounts/{id}``."""
    return RecordRequest(
        model="crm",
        resource="accounts",
        method="update",
        record_id=account_id,
        id_name="account_id",
        needs_id=True,
        body=body,
        **given,
    )
