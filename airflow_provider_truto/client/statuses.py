"""What each HTTP status means, one row per status: error class, who tries again, cause, fix.

The errors, the retry loop, what Airflow is told and the table of docs/errors.md come from here. Sources: Truto's
docs/api-reference/overview/errors and Truto's own reference texts on errors; 408, 425 and 501 as HTTP means them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from airflow_provider_truto.client.errors import (
    TrutoAccountBlockedError,
    TrutoApiError,
    TrutoAuthenticationError,
    TrutoBadRequestError,
    TrutoConflictError,
    TrutoMethodNotAllowedError,
    TrutoNotFoundError,
    TrutoPermissionError,
    TrutoRateLimitError,
    TrutoReauthorizationRequiredError,
    TrutoSandboxReadOnlyError,
    TrutoServerError,
    TrutoTemporaryError,
    TrutoUnprocessableError,
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a status means. In ``fix``, ``{connection}`` is the connection's name."""

    error: type[TrutoApiError]
    cause: str
    fix: str
    #: The retry loop sends the request again.
    in_call: bool = False
    #: A retry of the task may help.
    by_task: bool = False
    #: Nothing was executed: a write may be repeated without a key, and the CRM has what it had before.
    is_refusal: bool = False
    #: ``skip_on`` may skip the task for it.
    may_skip: bool = True
    #: Not the record may be at fault, but the account or the token: a bulk gives the customer up after several in a
    #: row, as it does where ``by_task``.
    is_of_account: bool = False
    #: Another token may help, once per call.
    renews_token: bool = False
    #: What is asked of the integrated account, since the status means something else where it is so.
    asks: Literal["is_blocked", "is_sandbox"] | None = None


class Row(NamedTuple):
    """What a status means where Truto itself gives it, and where it passes on what the customer's CRM gave."""

    of_truto: Meaning
    of_crm: Meaning


_NOT_TRUTO = "check the connection's host; nothing but Truto should answer there"
_UNCLEAR_TO_CRM = "look up what the CRM means by it"
_LATER = "let the task retry later"
_LASTING = "let the task retry later; if it lasts, write to support@truto.one"
_RECONNECT = "the customer's connection to the CRM"
_SERVER_OF_CRM = Meaning(TrutoServerError, "the CRM", _LATER, in_call=True, by_task=True)
_SERVER = Row(Meaning(TrutoServerError, "Truto", _LASTING, in_call=True, by_task=True), _SERVER_OF_CRM)
_TEMPORARY = Row(
    Meaning(TrutoTemporaryError, "Truto", _LATER, in_call=True, by_task=True),
    Meaning(TrutoTemporaryError, "the CRM", _LATER, in_call=True, by_task=True),
)

STATUSES: dict[int, Row] = {
    400: Row(
        Meaning(TrutoBadRequestError, "the request", "correct the task's arguments", is_refusal=True),
        Meaning(TrutoBadRequestError, "the request", "correct what the CRM complains of", is_refusal=True),
    ),
    401: Row(
        Meaning(
            TrutoAuthenticationError,
            "the connection",
            "put a valid API token (Truto's dashboard, API tokens) into the password of {connection}",
            is_refusal=True,
            renews_token=True,
        ),
        Meaning(
            TrutoReauthorizationRequiredError,
            _RECONNECT,
            "the customer must reconnect the account; retries cannot help",
            is_refusal=True,
        ),
    ),
    403: Row(
        Meaning(
            TrutoPermissionError,
            "the token",
            "use an API token of the environment that holds this account",
            is_refusal=True,
            is_of_account=True,
        ),
        Meaning(
            TrutoPermissionError,
            _RECONNECT,
            "the customer must reconnect and grant the missing rights",
            is_refusal=True,
        ),
    ),
    404: Row(
        # It says that the task is wrong (its account, its resource), not that a record is gone.
        Meaning(
            TrutoNotFoundError,
            "the task or the token",
            "check integrated_account_id and that the API token belongs to its environment;"
            " an integration may also lack this method",
            is_refusal=True,
            may_skip=False,
            is_of_account=True,
        ),
        Meaning(
            TrutoNotFoundError,
            "the task",
            "this customer's CRM has no such record: check the id and that it belongs to this account",
            is_refusal=True,
        ),
    ),
    405: Row(
        Meaning(
            TrutoMethodNotAllowedError,
            "the task",
            "this integration does not offer the method: ask its capabilities",
            is_refusal=True,
            asks="is_sandbox",
        ),
        Meaning(TrutoMethodNotAllowedError, "the CRM", "the CRM does not allow this on this record", is_refusal=True),
    ),
    408: _TEMPORARY,
    409: Row(  # Not a refusal: the record in the way may be what this very write has made.
        Meaning(TrutoConflictError, "unclear", _NOT_TRUTO),
        Meaning(
            TrutoConflictError,
            "the data",
            "another record in this CRM already has this unique value: merge them or change it",
        ),
    ),
    422: Row(
        Meaning(TrutoUnprocessableError, "unclear", _NOT_TRUTO, is_refusal=True),
        Meaning(TrutoUnprocessableError, "the data", "correct the values that the CRM refuses", is_refusal=True),
    ),
    425: Row(*(replace(meaning, is_refusal=True) for meaning in _TEMPORARY)),
    429: Row(
        Meaning(
            TrutoRateLimitError,
            "too many calls at once",
            "Truto takes 50 calls in 10 s per account and 500 per token: run fewer tasks at a time (an Airflow pool)",
            in_call=True,
            by_task=True,
            is_refusal=True,
        ),
        Meaning(
            TrutoRateLimitError,
            "too many calls at once",
            "the CRM's own limit is used up: run fewer tasks for this customer at a time",
            in_call=True,
            by_task=True,
            is_refusal=True,
        ),
    ),
    500: _SERVER,
    501: Row(
        Meaning(TrutoServerError, "the request", "Truto does not offer this: check the method and the resource"),
        _SERVER_OF_CRM,
    ),
    502: _SERVER,
    503: _SERVER._replace(of_truto=replace(_SERVER.of_truto, asks="is_blocked")),
    504: _SERVER,
}
#: Any other status, and any other one from 500. Neither is a refusal: nothing says what they mean for a write.
OTHER = Row(
    Meaning(TrutoApiError, "unclear", _NOT_TRUTO),
    Meaning(TrutoApiError, "unclear", _UNCLEAR_TO_CRM),
)
OTHER_SERVER = Row(Meaning(TrutoServerError, "Truto", _LASTING, by_task=True), _SERVER_OF_CRM)
#: What a status means that ``asks``, by the answer.
SANDBOX_ACCOUNT = Meaning(
    TrutoSandboxReadOnlyError,
    "the task",
    "this integrated account is a sandbox, which Truto never writes to: use a real one",
    is_refusal=True,
)
MAYBE_BLOCKED_ACCOUNT = Meaning(
    TrutoServerError,
    "Truto",
    f"{_LASTING}. Whether the account is blocked could not be found out",
    by_task=True,
)
BLOCKED_ACCOUNT = Meaning(TrutoAccountBlockedError, "Truto", "the account is blocked: write to support@truto.one")


def find_meaning(status: int, *, is_remote: bool) -> Meaning:
    """Return what a status means, given by Truto or, where ``is_remote``, by the customer's CRM."""
    row = STATUSES.get(status, OTHER_SERVER if status >= 500 else OTHER)
    return row.of_crm if is_remote else row.of_truto


def is_refused(status: int | None) -> bool:
    """Whether a status says that nothing was executed, by Truto and by the CRM alike; ``None`` says nothing."""
    return status is not None and all(
        find_meaning(status, is_remote=is_remote).is_refusal for is_remote in (True, False)
    )
