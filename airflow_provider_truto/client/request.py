"""One request to Truto as an immutable value: method, escaped path, query pairs, body.

Nothing is sent from here. What cannot be put on the wire without changing its meaning is refused
with ``ValueError`` or ``TypeError``, so that what arrives is what was given.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from secrets import token_hex
from typing import Any
from urllib.parse import quote, unquote, urlencode
from uuid import UUID

from airflow_provider_truto.client.numbers import NOT_HELD, find_unheld, may_hold_unheld
from airflow_provider_truto.client.values import Value

#: Methods that change nothing at Truto, so they carry no ``Idempotency-Key``.
READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
JSON = "application/json"
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
#: A percent sign that begins no escape.
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True, kw_only=True)
class Request(Value):
    """One request, complete but for the token.

    ``path`` begins with ``/`` and is percent-encoded; ``query`` holds decoded pairs in wire order; ``body`` is
    UTF-8 JSON, other bytes under their own ``content_type``, or ``None``. ``integrated_account_id`` is there for
    messages, limits and tokens; it is already part of ``path``, ``query`` or ``body``.

    ``is_data``: it reads or writes a customer's data, so that it may go out under that account's own token and
    counts on that account's limit. ``is_idempotent``: a POST that may be repeated although it has no key.
    ``streamed``: the answer's bytes are iterated. ``any_content``: an answer that is not JSON is returned as bytes.
    ``cache_ttl``: seconds for which the answer may be used again within the process. Raises as ``check_header`` does.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    idempotency_key: str | None = None
    integrated_account_id: str | None = None
    is_data: bool = False
    is_idempotent: bool = False
    streamed: bool = False
    any_content: bool = False
    cache_ttl: float = 0.0

    def __post_init__(self) -> None:
        """Check what goes into headers."""
        check_header("content_type", self.content_type)
        if self.idempotency_key is not None:
            check_header("idempotency_key", self.idempotency_key)

    @property
    def is_write(self) -> bool:
        """Whether Truto may change something because of this request."""
        return self.method not in READ_METHODS and not self.is_idempotent

    @property
    def target(self) -> str:
        """Path and query as they go on the wire."""
        return f"{self.path}?{self.query_string}" if self.query else self.path

    @property
    def query_string(self) -> str:
        """The query as it goes on the wire, ``""`` without one."""
        return _encode_pairs(self.query) if self.query else ""

    def __str__(self) -> str:
        """Name the request for logs and messages: no query, no body."""
        return f"{self.method} {self.path}"

    def describe(self) -> str:
        """Name the request and its customer for a message."""
        return (
            f"{self} for integrated account {self.integrated_account_id}" if self.integrated_account_id else str(self)
        )


@lru_cache(maxsize=1024)  # many requests of a customer differ in their paths only
def _encode_pairs(query: tuple[tuple[str, str], ...]) -> str:
    return urlencode(query)


def check_header(name: str, value: object) -> None:
    """Raise ``TypeError`` or ``ValueError`` for what cannot be a header's value as it is."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is text, not {type(value).__name__}")
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        raise ValueError(f"{name} takes visible ASCII text, without spaces around it")


def build_path(*segments: str) -> str:
    """Join path segments, each percent-encoded whole, so that ``a/b?c#d`` stays one segment.

    Raises ``ValueError`` for an empty segment and for ``.`` and ``..`` (servers and proxies resolve
    those, encoded or not), ``TypeError`` for anything but text.
    """
    return "".join(map(_escape_segment, segments))


def _escape_segment(segment: str) -> str:
    if not isinstance(segment, str):
        raise TypeError(f"a path segment is text, not {type(segment).__name__}: {segment!r}")
    if segment in {"", ".", ".."}:
        raise ValueError(f"{segment!r} cannot be an id or a name in Truto's URLs")
    return _quote(segment)


@lru_cache(maxsize=4096)  # a path is mostly names of Truto's, and each id is looked at several times
def _quote(segment: str) -> str:
    return "/" + quote(_check_encodable(segment, "path segment"), safe="")


def escape_path(path: str) -> str:
    """Check and complete a path that the caller wrote with its slashes, ``v2/things/a%2Fb``.

    Valid percent-escapes stay, in the one form that RFC 3986 calls normal (``%2f`` as ``%2F``, ``%41`` as ``A``):
    some libraries would rewrite them, some would not. Whatever else a URL cannot hold is escaped. Raises
    ``ValueError`` for an empty path or segment, for ``?`` and ``#`` (the query is given apart), and for ``.`` and
    ``..`` as a segment in any encoding: a server or proxy on the way could resolve those and call something else.
    """
    text = _check_encodable(path, "path").removeprefix("/")
    if "?" in text or "#" in text:
        raise ValueError(f"the path {path!r} holds a query or a fragment: give parameters as query")
    segments = text.removesuffix("/").split("/")
    if "" in segments:
        raise ValueError(f"the path {path!r} is empty, or has an empty segment")
    # Some servers take what follows a semicolon for a parameter of the segment.
    plain = (segment.partition(";")[0].strip() for segment in re.split(r"[/\\]", _decode(text)))
    if not {".", ".."}.isdisjoint(plain):
        raise ValueError(f"the path {path!r} holds a dot segment, which could lead elsewhere")
    text = _ESCAPE.sub(_normalize_escape, _BARE_PERCENT.sub("%25", text))
    return "/" + quote(text, safe="/%!$&'()*+,;=:@~")


def _normalize_escape(escape: re.Match[str]) -> str:
    letter = chr(int(escape[0][1:], 16))
    return letter if letter in _UNRESERVED else escape[0].upper()


def _decode(text: str) -> str:
    """Decode until nothing is left to decode: each server on the way may decode once."""
    while (plain := unquote(text)) != text:
        text = plain
    return text


def _check_encodable(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} {text!r} is not valid Unicode text (a lone surrogate)") from error
    return text


def make_random_key() -> str:
    """Make an idempotency key that no other call uses."""
    return f"v1-{token_hex(16)}"


def encode_query(query: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Write a query in Truto's grammar (docs/api-reference/overview/querying) as decoded pairs.

    ====================  ==========================================================
    text, number          ``name=foo``, ``limit=10``
    ``True``              ``is_active=true``
    ``datetime``          ISO 8601 in UTC, ``2021-01-01T00:00:00.000Z``
    mapping               ``foo[bar]=baz``
    list or tuple         ``foo[]=bar``
    ``None``, ``{}``, []  left out
    ====================  ==========================================================

    Raises ``ValueError`` or ``TypeError`` where a value has no unambiguous form: a naive datetime, NaN,
    a set, brackets in a name, a list in a list, a list of several mappings.
    """
    pairs: list[tuple[str, str]] = []
    try:
        for name, value in query.items():
            _add_pairs(pairs, _check_name(name), value, in_list=False)
    except RecursionError:
        raise ValueError("a query that holds itself, or is nested too deeply, has no end") from None
    return tuple(pairs)


def _check_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError(f"a query parameter's name is non-empty text, not {name!r}")
    if "[" in name or "]" in name:
        raise ValueError(
            f"query parameter {name!r}: write nested names as nested dicts,"
            " {'created_at': {'gt': ...}} instead of {'created_at[gt]': ...}"
        )
    return _check_encodable(name, "query parameter")


def _add_pairs(pairs: list[tuple[str, str]], name: str, value: Any, *, in_list: bool) -> None:
    if value is None:
        if in_list:
            raise ValueError(f"query parameter {name}: a list in a query cannot hold None")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _add_pairs(pairs, f"{name}[{_check_name(key)}]", item, in_list=False)
    elif isinstance(value, (list, tuple)):
        if in_list:
            raise ValueError(f"query parameter {name}: a list in a list has no form in Truto's query grammar")
        if len(value) > 1 and any(isinstance(item, Mapping) for item in value):
            raise ValueError(
                f"query parameter {name}: a list of several objects is ambiguous in Truto's query grammar"
            )
        for item in value:
            _add_pairs(pairs, f"{name}[]", item, in_list=True)
    else:
        pairs.append((name, _check_encodable(_encode_scalar(name, value), f"the value of query parameter {name}")))


def _encode_scalar(name: str, value: Any) -> str:
    if isinstance(value, Enum):
        return _encode_scalar(name, value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (float, Decimal)) and not math.isfinite(value):
        raise ValueError(f"query parameter {name}: {value} is not a number that JSON or a URL knows")
    if isinstance(value, (str, int, float, Decimal, UUID)):
        return str(value)
    if isinstance(value, datetime):
        return format_utc(value, name)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"query parameter {name}: {type(value).__name__} has no form in Truto's query grammar")


def format_utc(moment: datetime, name: str) -> str:
    """Write an aware datetime as ``2021-01-01T00:00:00.000Z``; microseconds appear only where there are any.

    Raises ``ValueError`` for a naive one, which names no point in time, and for one outside the calendar.
    """
    if moment.utcoffset() is None:
        raise ValueError(f"{name}: the datetime {moment.isoformat()} has no time zone")
    timespec = "microseconds" if moment.microsecond % 1000 else "milliseconds"
    try:
        utc = moment.astimezone(timezone.utc).replace(tzinfo=None)
    except OverflowError:
        raise ValueError(f"{name}: the datetime {moment.isoformat()} is out of range in UTC") from None
    return utc.isoformat(timespec=timespec) + "Z"


def encode_json(body: Any, *, is_plain: bool = False) -> bytes:
    """Write a JSON-plain value as UTF-8 JSON.

    ``is_plain``: it surely holds nothing but JSON's own types, and need not be read again to be compared.
    Raises ``ValueError`` for NaN, infinities, lone surrogates, cycles and whatever would arrive as something
    else (keys that are not text, tuples, whole numbers that no double holds), ``TypeError`` for what JSON has no form
    for.
    """
    try:
        written = _JSON.encode(body).encode()
        is_same = is_plain or json.loads(written) == body
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not is_same:
        raise ValueError("it would change: keys that are not text, or tuples")
    if not is_plain and may_hold_unheld(written) and (pointer := find_unheld(body)) is not None:
        raise ValueError(f"the number at {pointer} {NOT_HELD}")
    return written
