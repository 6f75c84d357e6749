"""Reading a response that is not a success into an error that says what happened, the cause and the fix.

Envelope and flags: Truto's docs/api-reference/overview/errors and Truto's own reference texts on errors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from itertools import islice
from typing import Any, NamedTuple

from airflow_provider_truto.client.errors import TrutoApiError, TrutoPartialFailureError
from airflow_provider_truto.client.names import fold
from airflow_provider_truto.client.redaction import quote_line, redact, shorten
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.statuses import Meaning, find_meaning

#: Raw answers are for reading, not for storing: an exception keeps this many characters of one.
RAW_RESPONSE_LIMIT = 4_000
_TEXT_LIMIT = 500
#: Bytes of an envelope. What is longer is not an envelope of Truto's, and would take long to be parsed.
_LONGEST_ENVELOPE = 4 * 1024 * 1024
#: Characters that are looked at of each part of an envelope, or of a page.
_MOST_TEXT = 16 * 1024
#: Truto's pages guarantee all of these in an error.
_ENVELOPE = {"statusCode", "error", "message"}
#: What else is told of: a content type may repeat what was sent, and so a token.
_KINDS = {"text/html": "as a web page", "text/plain": "as plain text"}
#: What is told of an envelope.
_TOLD = ("error", "message", "raw_response", "details", "truto_error_insight")
#: What CRMs call the fields that they complain of, and what is wrong with these; folded.
_FIELD_NAMES = ("field", "fields", "fieldname", "property", "propertyname", "apiname", "attribute", "param")
_CODE_NAMES = ("code", "errorcode", "errortype")
_MOST_NAMED = 8
_MOST_LOOKED_AT = 200
_LONGEST_NAME = 100


def build_api_error(
    request: Request,
    response: Response,
    *,
    retry_after: float | None = None,
    meaning: Meaning | None = None,
    connection: str = "the connection",
    server: str = "the server",
    scrub: Callable[[str], str] = str,
) -> TrutoApiError:
    """Read a response that is not a success into the one fitting error.

    ``scrub`` takes secrets out of text; ``connection`` is what the one to fix is called, ``server`` the URL that was
    asked; ``meaning`` is given where more than the response is known (a sandbox, a blocked account). Never raises: a
    body that is not Truto's envelope costs only its details, and the message says that it does not look like Truto.
    """
    envelope = _parse_envelope(response)
    # Each by itself: a long one must not leave nothing of the others.
    said = {key: redact(envelope.get(key), scrub, most=_MOST_TEXT) for key in _TOLD}
    is_remote = _is_remote(envelope)
    message = _to_line(said["message"]) or _to_line(said["raw_response"]) or _read_page(response.body, scrub)
    insight = said["truto_error_insight"]
    meaning = meaning or find_meaning(response.status, is_remote=is_remote)
    error = meaning.error(
        "",
        status=response.status,
        error=_to_line(said["error"]) or _find_phrase(response.status),
        message=message,
        is_remote=is_remote,
        raw_response=_cut_raw(said["raw_response"]),
        details=_cut_raw(said["details"]),
        insight=insight if isinstance(insight, dict) else None,
        retry_after=retry_after,
    )
    error.transient = meaning.by_task
    error.is_foreign = not _ENVELOPE & envelope.keys()
    foreign = _describe_foreign(response, meaning, server, connection) if error.is_foreign else None
    error.args = (_compose_message(request, error, foreign or _describe_truto(error, meaning, connection)),)
    return error


def is_remote_error(response: Response) -> bool:
    """Whether Truto says of an answer that the customer's CRM caused it."""
    return _is_remote(_parse_envelope(response))


def _is_remote(envelope: dict[str, Any]) -> bool:
    return envelope.get("truto_is_remote_error") is True


def build_partial_failure(
    request: Request, response: Response, *, errors: Any, result: Any, scrub: Callable[[str], str]
) -> TrutoPartialFailureError:
    """Build the error of a 2xx that holds errors; ``errors`` are Truto's, by resource."""
    errors = redact(errors, scrub)
    count = (
        sum(len(found) if isinstance(found, list) else 1 for found in errors.values() if found)
        if isinstance(errors, dict)
        else 1
    )
    done = _to_line(
        ", ".join(f"{name}: {len(rows) if isinstance(rows, list) else 1}" for name, rows in (result or {}).items())
    )
    return TrutoPartialFailureError(
        f"{request.describe()}: Truto answered {response.status}, but with {count}"
        f" error{'' if count == 1 else 's'} in it:"
        f" {_to_line(errors)}. What succeeded ({done or 'nothing'}) is in `.result` and stays done. Fix: correct"
        " what the errors name, and send the failed ones again.",
        errors=errors,
        result=result,
        status=response.status,
        details=_cut_raw(errors),
    )


def _parse_envelope(response: Response) -> dict[str, Any]:
    if len(response.body) > _LONGEST_ENVELOPE:
        return {}
    try:
        parsed = response.json()
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


class _Verdict(NamedTuple):
    """Who answered, what is to be known of the answer, the cause and the fix."""

    speaker: str
    remark: str
    cause: str
    fix: str


def _describe_truto(error: TrutoApiError, meaning: Meaning, connection: str) -> _Verdict:
    speaker = "the customer's CRM" if error.is_remote else "Truto"
    return _Verdict(speaker, "", meaning.cause, meaning.fix.format(connection=connection))


def _describe_foreign(response: Response, meaning: Meaning, server: str, connection: str) -> _Verdict:
    """Describe an answer without what Truto's pages guarantee for an error: another server gave it, or a proxy."""
    if not response.body.strip():
        came = "without a body"
    elif response.claims_json:
        came = "without Truto's statusCode, error and message"
    else:
        came = _KINDS.get(response.content_type, "as something other than JSON")
    check = f"check the Base URL of {connection}, and the proxies on the way there: nothing but Truto should answer"
    return _Verdict(
        speaker=server,
        remark=f" It came {came}, and does not look like an answer of Truto.",
        cause="another server than Truto, or a proxy before it",
        fix=f"let the task retry later; if it lasts, {check}" if meaning.by_task else check,
    )


def _compose_message(request: Request, error: TrutoApiError, verdict: _Verdict) -> str:
    said = f': "{error.message}"' if error.message else " without a message"
    extras = "".join(_describe_insight(error))
    return (
        f"{request.describe()}: {verdict.speaker} answered {error.status} {error.error}{said}.{verdict.remark}"
        f"{extras} Cause: {verdict.cause}. Fix: {verdict.fix}."
    )


def _describe_insight(error: TrutoApiError) -> Iterable[str]:
    for key, label in (
        ("missing_required_query_parameters", "Missing query parameters"),
        ("missing_required_body_fields", "Missing body fields"),
    ):
        if names := error.find_insight(key):
            yield f" {label}: {_to_line(', '.join(names))}."
    if error.missing_scopes:
        yield f" Missing scopes: {_to_line(', '.join(error.missing_scopes))}."
    if error.is_remote and error.status < 500 and (named := ", ".join(_find_named_fields(error.raw_response))):
        yield f" The CRM names: {_to_line(named)}."
    failures = error.details.get("failures") if isinstance(error.details, dict) else None
    if failures:
        yield f" Details: {_to_line(failures)}."


def _find_named_fields(raw: Any) -> list[str]:
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
            by_name = {fold(str(key)): item for key, item in value.items()}
            code = next((text for key in _CODE_NAMES for text in _select_texts(by_name.get(key))), code)
            for name in (text for key in _FIELD_NAMES for text in _select_texts(by_name.get(key))):
                named.setdefault(name, code)
            pending += [(item, code) for item in value.values() if isinstance(item, (dict, list))]
    return [f"{name} ({code})" if code else name for name, code in islice(named.items(), _MOST_NAMED)]


def _select_texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and 0 < len(text) <= _LONGEST_NAME]


def _find_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _to_line(value: Any) -> str:
    """Return a redacted value of an unknown kind as one short line; ``""`` for nothing."""
    return "" if value is None or value in ("", {}, []) else quote_line(value, most=_TEXT_LIMIT)


def _read_page(body: bytes, scrub: Callable[[str], str]) -> str:
    """Return what a page or a bare text says, without markup; of JSON that is not an envelope nothing can be said."""
    text = body[: 4 * _MOST_TEXT].decode(errors="replace")
    start = text.lstrip()[:1]
    if start in {"{", "["}:
        return ""
    text = redact(text, scrub, most=_MOST_TEXT)
    return _to_line(text if start != "<" else _find_title(text) or _strip_tags(text))


def _find_title(page: str) -> str:
    """Return the title of a page. Found step by step: a pattern would begin again at every ``<title``."""
    lowered = page.lower()
    begin = lowered.find("<title")
    end = lowered.find("</title", begin)
    is_there = begin != -1 and end != -1
    return page[begin:end].partition(">")[2] if is_there else ""


def _strip_tags(page: str) -> str:
    first, *rest = page.split("<")
    pieces = (after if closing else f"<{tag}" for tag, closing, after in (piece.partition(">") for piece in rest))
    return " ".join([first, *pieces])


def _cut_raw(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= RAW_RESPONSE_LIMIT else shorten(text, most=RAW_RESPONSE_LIMIT)
