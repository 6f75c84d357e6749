"""Reading an Airflow connection into checked client settings. Strict: what cannot be read is an error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit

from airflow_provider_truto.client.errors import Problem, TrutoSchemaError
from airflow_provider_truto.client.settings import DEFAULT_BASE_URL, ClientSettings, without_user
from airflow_provider_truto.client.tokens import Token
from airflow_provider_truto.connection_fields import EXTRA_FIELDS, ExtraField

T = TypeVar("T")

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: How text is read as a boolean; JSON's and Python's spelling, nothing looser.
_BOOLEANS = {"true": True, "false": False}


class AirflowConnection(Protocol):
    """What is read of Airflow's ``Connection``."""

    host: str | None
    port: int | None
    schema: str | None
    password: str | None

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """The extras as an object."""


@dataclass(frozen=True, kw_only=True)
class TrutoConnection:
    """A connection as it was read. ``warnings`` name extras that mean nothing to this provider."""

    settings: ClientSettings
    token: Token
    warnings: tuple[str, ...] = ()


def read_connection(
    conn: AirflowConnection,
    *,
    conn_id: str,
    overrides: Mapping[str, Any],
    user_agent: str,
    hide_values: bool,
    allowed_hosts: frozenset[str] = frozenset(),
) -> TrutoConnection:
    """Read a connection; ``overrides`` are a hook's arguments and win over the extras of the same names.

    Raises ``TrutoSchemaError`` with every problem, each under the name of its field.
    """
    problems: list[Problem] = []
    token = _read_or_note(problems, "/password", lambda: _token(conn.password))
    url = _read_or_note(problems, "/host", lambda: base_url(conn))
    values: dict[str, Any] = {}
    settings: ClientSettings | None = None
    for extra in EXTRA_FIELDS:
        given = overrides.get(extra.name)
        source = "argument" if given is not None else "extra"
        raw = conn.extra_dejson.get(extra.name) if given is None else given
        # The form stores an untouched field as null or empty; an argument that is empty was given so.
        if raw is not None and not (raw == "" and given is None):
            values[extra.name] = _read_or_note(problems, f"/{source}/{extra.name}", partial(_read, extra, raw))
    if not problems:
        settings = _read_or_note(
            problems,
            "/connection",
            lambda: ClientSettings(
                base_url=url or "", user_agent=user_agent, hide_values=hide_values, **_settings(values)
            ),
        )
        if settings and allowed_hosts and settings.origin.host not in allowed_hosts:
            problems.append(
                Problem("/host", f"{settings.origin.host} is not among [truto] allowed_hosts of this Airflow")
            )
    if problems or settings is None or token is None:
        raise TrutoSchemaError.of(f"the connection {conn_id!r} cannot be used", problems)
    return TrutoConnection(
        settings=settings,
        token=token,
        warnings=tuple(_unknown(conn.extra_dejson)),
    )


def _read_or_note(problems: list[Problem], pointer: str, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ValueError as error:
        problems.append(Problem(pointer, str(error)))
        return None


def _token(password: str | None) -> Token:
    if not password:
        raise ValueError("is empty: the API token goes there (in the form: API token)")
    return Token(password)


def base_url(conn: AirflowConnection) -> str:
    """Put the base URL together from host, port and schema.

    A bare host means https; port 0 counts as unset. Raises ``ValueError`` where the parts contradict.
    """
    host = (conn.host or "").strip()
    if not host:
        host = DEFAULT_BASE_URL
    if "://" not in host:
        host = f"{(conn.schema or 'https').lower()}://{host}"
    elif conn.schema and conn.schema.lower() != urlsplit(host).scheme.lower():
        raise ValueError(f"the base URL {without_user(host)!r} and the schema {conn.schema!r} contradict each other")
    parts = urlsplit(host)
    port = _port(parts, conn.port)
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"the base URL {without_user(host)!r} is not a http(s) URL")
    if "@" in parts.netloc:
        raise ValueError("the base URL must not hold a user or password: the API token goes into the password")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = name if port is None else f"{name}:{port}"
    return SplitResult(parts.scheme.lower(), netloc, parts.path.rstrip("/"), parts.query, parts.fragment).geturl()


def _port(parts: SplitResult, port: int | None) -> int | None:
    try:
        in_url = parts.port
    except ValueError as error:
        raise ValueError(f"the base URL's port: {error}") from None
    if port and in_url and port != in_url:
        raise ValueError(f"the base URL names port {in_url}, the connection's port is {port}")
    return in_url or port or None


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give extras the names of client settings; one that is not given keeps its default."""
    names = {extra.name: extra.name for extra in EXTRA_FIELDS} | {"timeout": "read_timeout"}
    return {names[name]: value for name, value in values.items()}


def _read(extra: ExtraField, raw: Any) -> Any:
    value = _parsed(raw) if isinstance(raw, str) and extra.type != "string" else raw
    match extra.type:
        case "string" if isinstance(value, str) and (not extra.choices or value in extra.choices):
            return value
        case "list" if (names := _names(raw)) is not None:
            return names
        case "boolean" if isinstance(value, bool):
            return value
        case "integer" if isinstance(value, int) and not isinstance(value, bool):
            return _at_least(extra, value)
        case "number" if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return _at_least(extra, value)
    wanted = {
        "string": f"one of {', '.join(extra.choices)}" if extra.choices else "text",
        "boolean": "true or false",
        "integer": "a whole number",
        "number": "a number",
        "list": "UUIDs, separated by commas",
    }
    raise ValueError(f"expects {wanted[extra.type]}, got {raw!r}")


def _names(raw: Any) -> frozenset[str] | None:
    """Read ids given as text with commas or as a list; ``None`` where one is no UUID: it would never match."""
    parsed = _parsed(raw) if isinstance(raw, str) and raw.lstrip().startswith("[") else raw
    names = parsed.split(",") if isinstance(parsed, str) else parsed
    if not isinstance(names, (list, tuple, set, frozenset)):
        return None
    ids = [str(name).strip().lower() for name in names if str(name).strip()]
    return frozenset(ids) if all(_UUID.fullmatch(one) for one in ids) else None


def _at_least(extra: ExtraField, value: float) -> float:
    if extra.minimum is not None and value < extra.minimum:
        raise ValueError(f"must be {extra.minimum} or more, got {value}")
    return value


def _parsed(text: str) -> Any:
    if text.strip().lower() in _BOOLEANS:
        return _BOOLEANS[text.strip().lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _unknown(extras: Mapping[str, Any]) -> list[str]:
    known = [field.name for field in EXTRA_FIELDS]
    warnings = []
    for name in sorted(set(extras) - set(known)):
        close = get_close_matches(name, known, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        warnings.append(f"the extra {name!r} means nothing to this provider and is ignored{hint}")
    return warnings
