"""Everything that can go wrong with a call, one class for each thing that a user would do differently.

    TrutoError
    ├── TrutoSchemaError        what was given is wrong; nothing was sent
    ├── TrutoTransportError     no answer that can be read; whether a write happened is mostly unknown
    └── TrutoApiError           Truto answered, and it was no success
        └── one subclass a remedy, see ``_CLASS_OF_STATUS``

``transient`` says whether the same call may succeed later. Messages say what happened, to which record,
whose fault it is and what to do. Statuses, envelope and flags: Truto's docs/api-reference/overview/errors
and Truto's own reference texts on errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from itertools import islice
from typing import Any, NamedTuple

from airflow_provider_truto.client.names import folded
from airflow_provider_truto.client.redaction import one_line, redacted, shortened
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.response import Response

#: Raw answers are for reading, not for storing: an exception keeps this many characters of one.
RAW_RESPONSE_LIMIT = 4_000
_TEXT_LIMIT = 500
#: Bytes of an envelope. What is longer is no envelope of Truto's, and would take long to be parsed.
_LONGEST_ENVELOPE = 4 * 1024 * 1024

#: Characters that are looked at of each part of an envelope, or of a page.
_MOST_TEXT = 16 * 1024
#: What is told of an envelope.
_TOLD = ("error", "message", "raw_response", "details", "truto_error_insight")


class Problem(NamedTuple):
    """One thing that is wrong with a value: a JSON pointer into it, and a sentence."""

    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer}: {self.message}"


class TrutoError(Exception):
    """Root of the tree. ``attempts`` and ``waited`` (seconds) tell what the call cost before it failed."""

    transient = False
    #: The name that ``skip_on`` and reports use, ``not_found`` for ``TrutoNotFoundError``.
    code = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.attempts = 0
        self.waited = 0.0
        self.idempotency_key: str | None = None
        #: The customer for whom the call was made, where one was made.
        self.integrated_account_id: str | None = None

    def __init_subclass__(cls) -> None:
        words = re.findall("[A-Z][a-z]+", cls.__name__.removeprefix("Truto").removesuffix("Error"))
        cls.code = "_".join(words).lower()


class TrutoSchemaError(TrutoError):
    """What was given is wrong; ``problems`` lists all of it, and nothing was sent."""

    def __init__(self, message: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, what: str, problems: Iterable[Problem]) -> TrutoSchemaError:
        """Build the error whose message lists every problem on a line of its own."""
        problems = tuple(problems)
        lines = "".join(f"\n  {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        return cls(f"{what}: {count}, nothing was sent.{lines}", problems)


class TrutoTransportError(TrutoError):
    """No answer that can be read.

    ``maybe_sent`` says whether the request can have gone out: a write may then have happened or not. Where it is
    false (no connection, a failed TLS handshake) nothing was written, and a repeat is safe without any key.
    """

    transient = True
    maybe_sent = True


class TrutoApiError(TrutoError):
    """Truto answered with something other than success.

    ``status`` is the HTTP status; ``error`` and ``message`` come from Truto's envelope; ``is_remote`` is
    true where the customer's CRM caused it, ``raw_response`` is then what the CRM said (redacted, cut);
    ``details`` and ``insight`` are Truto's, ``retry_after`` is in seconds.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int = 0,
        error: str = "",
        message: str = "",
        is_remote: bool = False,
        raw_response: Any = None,
        details: Any = None,
        insight: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.error = error
        self.message = message
        self.is_remote = is_remote
        self.raw_response = raw_response
        self.details = details
        self.insight = insight or {}
        self.retry_after = retry_after

    @property
    def missing_scopes(self) -> tuple[str, ...]:
        """OAuth scopes that the customer's connection lacks, where Truto named them."""
        return self._named("forbidden_error", "missing_scopes")

    def _named(self, key: str, inner: str | None = None) -> tuple[str, ...]:
        entry = self.insight.get(key)
        value = entry.get("value") if isinstance(entry, dict) else None
        if inner is not None:
            value = value.get(inner) if isinstance(value, dict) else None
        return tuple(str(item) for item in value) if isinstance(value, list) else ()


class TrutoBadRequestError(TrutoApiError):
    """400: Truto rejected the request itself."""


class TrutoAuthenticationError(TrutoApiError):
    """401 of Truto: the API token is missing, wrong, expired or revoked."""


class TrutoReauthorizationRequiredError(TrutoApiError):
    """401 of the CRM: the customer has to connect the account again."""


class TrutoPermissionError(TrutoApiError):
    """403: see ``missing_scopes``."""


class TrutoNotFoundError(TrutoApiError):
    """404: no such record, or no such account for this token."""


class TrutoMethodNotAllowedError(TrutoApiError):
    """405."""


class TrutoSandboxReadOnlyError(TrutoMethodNotAllowedError):
    """405 of a sandbox account: it can be read, never written."""


class TrutoConflictError(TrutoApiError):
    """409: the CRM holds another record with the same unique value."""


class TrutoUnprocessableError(TrutoApiError):
    """422: the CRM validated the values and refused them."""


class TrutoRateLimitError(TrutoApiError):
    """429: too many calls; ``retry_after`` says how many seconds to wait."""

    transient = True


class TrutoServerError(TrutoApiError):
    """5xx: Truto or the CRM failed."""

    transient = True


class TrutoAccountBlockedError(TrutoServerError):
    """503 of an account that Truto has blocked."""

    transient = False


class TrutoPartialFailureError(TrutoApiError):
    """A 2xx that holds errors: some of a batch failed. ``errors`` and ``result`` are by resource."""

    def __init__(self, text: str, *, errors: Any = None, result: Any = None, **given: Any) -> None:
        super().__init__(text, **given)
        self.errors = errors
        self.result = result


class TrutoTemporaryError(TrutoApiError):
    """408 or 425: the server asks for the same call again, later."""

    transient = True


_CLASS_OF_STATUS: dict[int, type[TrutoApiError]] = {
    400: TrutoBadRequestError,
    401: TrutoAuthenticationError,
    403: TrutoPermissionError,
    404: TrutoNotFoundError,
    405: TrutoMethodNotAllowedError,
    408: TrutoTemporaryError,
    409: TrutoConflictError,
    422: TrutoUnprocessableError,
    425: TrutoTemporaryError,
    429: TrutoRateLimitError,
}


class _Remedy(NamedTuple):
    """Whose fault it is, and what to do about it."""

    fault: str
    advice: str


_BY_TRUTO: dict[type[TrutoApiError], _Remedy] = {
    TrutoBadRequestError: _Remedy("the request's", "correct the task's arguments"),
    TrutoAuthenticationError: _Remedy(
        "the connection's",
        "put a valid API token (Truto's dashboard, API tokens) into the password of {connection}",
    ),
    TrutoPermissionError: _Remedy("the token's", "use an API token of the environment that holds this account"),
    TrutoNotFoundError: _Remedy(
        "the task's or the token's",
        "check integrated_account_id and that the API token belongs to its environment;"
        " an integration may also lack this method",
    ),
    TrutoMethodNotAllowedError: _Remedy(
        "the task's", "this integration does not offer the method: ask its capabilities"
    ),
    TrutoSandboxReadOnlyError: _Remedy(
        "the task's", "this integrated account is a sandbox, which Truto never writes to: use a real one"
    ),
    TrutoRateLimitError: _Remedy(
        "too many calls at once",
        "Truto takes 50 calls in 10 s an account and 500 a token: run fewer tasks at a time (an Airflow pool)",
    ),
    TrutoAccountBlockedError: _Remedy("Truto's", "the account is blocked: write to support@truto.one"),
    TrutoServerError: _Remedy("Truto's", "let the task retry later; if it lasts, write to support@truto.one"),
    TrutoTemporaryError: _Remedy("Truto's", "let the task retry later"),
    TrutoApiError: _Remedy("unclear", "check the connection's host; nothing but Truto should answer there"),
}
_BY_CRM: dict[type[TrutoApiError], _Remedy] = {
    TrutoBadRequestError: _Remedy("the request's", "correct what the CRM complains of"),
    TrutoReauthorizationRequiredError: _Remedy(
        "the customer's connection to the CRM", "the customer must reconnect the account; retries cannot help"
    ),
    TrutoPermissionError: _Remedy(
        "the customer's connection to the CRM", "the customer must reconnect and grant the missing rights"
    ),
    TrutoNotFoundError: _Remedy(
        "the task's",
        "this customer's CRM has no such record: check the id and that it belongs to this account",
    ),
    TrutoMethodNotAllowedError: _Remedy("the CRM's", "the CRM does not allow this on this record"),
    TrutoConflictError: _Remedy(
        "the data's", "another record in this CRM already has this unique value: merge them or change it"
    ),
    TrutoUnprocessableError: _Remedy("the data's", "correct the values that the CRM refuses"),
    TrutoRateLimitError: _Remedy(
        "too many calls at once",
        "the CRM's own limit is used up: run fewer tasks for this customer at a time",
    ),
    TrutoServerError: _Remedy("the CRM's", "let the task retry later"),
    TrutoTemporaryError: _Remedy("the CRM's", "let the task retry later"),
    TrutoApiError: _Remedy("unclear", "look up what the CRM means by it"),
}


#: What CRMs call the fields that they complain of, and what is wrong with these; folded.
_FIELD_NAMES = ("field", "fields", "fieldname", "property", "propertyname", "apiname", "attribute", "param")
_CODE_NAMES = ("code", "errorcode", "errortype")
_MOST_NAMED = 8
_MOST_LOOKED_AT = 200
_LONGEST_NAME = 100


def api_error(
    request: Request,
    response: Response,
    *,
    retry_after: float | None = None,
    as_class: type[TrutoApiError] | None = None,
    connection: str = "the connection",
    scrub: Callable[[str], str] = str,
) -> TrutoApiError:
    """Read an answer that is no success into the one fitting error.

    ``scrub`` takes secrets out of text; ``connection`` is what the one to mend is called; ``as_class`` is given where
    more than the answer is known (a sandbox, a blocked account). Never raises: a body that is not Truto's envelope
    costs only its details.
    """
    envelope = _envelope(response)
    # Each by itself: a long one must not leave nothing of the others.
    said = {key: redacted(envelope.get(key), scrub, most=_MOST_TEXT) for key in _TOLD}
    is_remote = _is_remote(envelope)
    message = _text(said["message"]) or _text(said["raw_response"]) or _page_text(response.body, scrub)
    insight = said["truto_error_insight"]
    cls = as_class or _class_of(response.status, is_remote)
    error = cls(
        "",
        status=response.status,
        error=_text(said["error"]) or _reason(response.status),
        message=message,
        is_remote=is_remote,
        raw_response=_cut_raw(said["raw_response"]),
        details=_cut_raw(said["details"]),
        insight=insight if isinstance(insight, dict) else None,
        retry_after=retry_after,
    )
    error.args = (_sentences(request, error, connection),)
    return error


def is_remote_error(response: Response) -> bool:
    """Whether Truto says of an answer that the customer's CRM caused it."""
    return _is_remote(_envelope(response))


def _is_remote(envelope: dict[str, Any]) -> bool:
    return envelope.get("truto_is_remote_error") is True


def partial_failure(
    request: Request, response: Response, *, errors: Any, result: Any, scrub: Callable[[str], str]
) -> TrutoPartialFailureError:
    """Make the error of a 2xx that holds errors; ``errors`` are Truto's, by resource."""
    errors = redacted(errors, scrub)
    count = (
        sum(len(found) if isinstance(found, list) else 1 for found in errors.values() if found)
        if isinstance(errors, dict)
        else 1
    )
    done = _text(
        ", ".join(f"{name}: {len(rows) if isinstance(rows, list) else 1}" for name, rows in (result or {}).items())
    )
    return TrutoPartialFailureError(
        f"{where(request)}: Truto answered {response.status}, but with {count} error{'' if count == 1 else 's'} in"
        " it:"
        f" {_text(errors)}. What succeeded ({done or 'nothing'}) is in `.result` and stays done. What to do: mend"
        " what the errors name, and send the failed ones again.",
        errors=errors,
        result=result,
        status=response.status,
        details=_cut_raw(errors),
    )


def where(request: Request) -> str:
    """Name a call and its customer for a message."""
    account = f" for integrated account {request.integrated_account_id}" if request.integrated_account_id else ""
    return f"{request}{account}"


def _envelope(response: Response) -> dict[str, Any]:
    if len(response.body) > _LONGEST_ENVELOPE:
        return {}
    try:
        parsed = response.json()
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _class_of(status: int, is_remote: bool) -> type[TrutoApiError]:
    if status == 401 and is_remote:
        return TrutoReauthorizationRequiredError
    if status >= 500:
        return TrutoServerError
    return _CLASS_OF_STATUS.get(status, TrutoApiError)


def _sentences(request: Request, error: TrutoApiError, connection: str) -> str:
    speaker = "the customer's CRM" if error.is_remote else "Truto"
    said = f': "{error.message}"' if error.message else " without a message"
    remedy = _remedy(error)
    extras = "".join(_insight_sentences(error))
    return (
        f"{where(request)}: {speaker} answered {error.status} {error.error}{said}.{extras}"
        f" Whose fault: {remedy.fault}. What to do: {remedy.advice.format(connection=connection)}."
    )


def _remedy(error: TrutoApiError) -> _Remedy:
    remedies = _BY_CRM if error.is_remote else _BY_TRUTO
    for cls in type(error).__mro__:
        if cls in remedies:
            return remedies[cls]
    return remedies[TrutoApiError]


def _insight_sentences(error: TrutoApiError) -> Iterable[str]:
    for key, label in (
        ("missing_required_query_parameters", "Missing query parameters"),
        ("missing_required_body_fields", "Missing body fields"),
    ):
        if names := error._named(key):
            yield f" {label}: {_text(', '.join(names))}."
    if error.missing_scopes:
        yield f" Missing scopes: {_text(', '.join(error.missing_scopes))}."
    if error.is_remote and error.status < 500 and (named := ", ".join(_named_by_crm(error.raw_response))):
        yield f" The CRM names: {_text(named)}."
    failures = error.details.get("failures") if isinstance(error.details, dict) else None
    if failures:
        yield f" Details: {_text(failures)}."


def _named_by_crm(raw: Any) -> list[str]:
    """Find the fields that a CRM complains of, each with its code: every CRM has a shape of its own for them."""
    named: dict[str, str] = {}
    pending = [(raw, "")]
    for _ in range(_MOST_LOOKED_AT):
        if not pending:
            break
        value, code = pending.pop(0)
        if isinstance(value, list):
            pending += [(item, code) for item in value[:_MOST_LOOKED_AT]]
        elif isinstance(value, dict):
            by_name = {folded(str(key)): item for key, item in value.items()}
            code = next((text for key in _CODE_NAMES for text in _texts(by_name.get(key))), code)
            for name in (text for key in _FIELD_NAMES for text in _texts(by_name.get(key))):
                named.setdefault(name, code)
            pending += [(item, code) for item in value.values() if isinstance(item, (dict, list))]
    return [f"{name} ({code})" if code else name for name, code in islice(named.items(), _MOST_NAMED)]


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and 0 < len(text) <= _LONGEST_NAME]


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _text(value: Any) -> str:
    """Give a redacted value of an unknown kind as one short line; ``""`` for nothing."""
    return "" if value is None or value in ("", {}, []) else one_line(value, most=_TEXT_LIMIT)


def _page_text(body: bytes, scrub: Callable[[str], str]) -> str:
    """Give what a page or a bare text says, without markup; of JSON that is no envelope nothing can be said."""
    text = body[: 4 * _MOST_TEXT].decode(errors="replace")
    start = text.lstrip()[:1]
    if start in {"{", "["}:
        return ""
    text = redacted(text, scrub, most=_MOST_TEXT)
    return _text(text if start != "<" else _title(text) or _without_tags(text))


def _title(page: str) -> str:
    """Give the title of a page. Found step by step: a pattern would begin anew at every ``<title``."""
    folded = page.lower()
    begin = folded.find("<title")
    end = folded.find("</title", begin)
    is_there = begin != -1 and end != -1
    return page[begin:end].partition(">")[2] if is_there else ""


def _without_tags(page: str) -> str:
    first, *rest = page.split("<")
    pieces = (after if closing else f"<{tag}" for tag, closing, after in (piece.partition(">") for piece in rest))
    return " ".join([first, *pieces])


def _cut_raw(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= RAW_RESPONSE_LIMIT else shortened(text, most=RAW_RESPONSE_LIMIT)
