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

from airflow_provider_truto.client.accounts import find_account_fault
from airflow_provider_truto.client.errors import Problem, TrutoSchemaError
from airflow_provider_truto.client.names import find_nearest
from airflow_provider_truto.client.numbers import parse_exact_json
from airflow_provider_truto.client.settings import DEFAULT_BASE_URL, ClientSettings, strip_user
from airflow_provider_truto.client.tokens import Token
from airflow_provider_truto.connection_fields import CONNECTION_TYPE, EXTRA_FIELDS, ExtraField

T = TypeVar("T")

#: How text is read as a boolean: JSON's and Python's spelling, and the `y` of a checked box that Airflow 2.11 tests.
_BOOLEANS = {"true": True, "false": False, "y": True}
#: Airflow 2.11 tests a connection with each extra given twice, plainly and so; long ago this was the only spelling.
_PREFIX = f"extra__{CONNECTION_TYPE}__"
_JSON_NAMES = {str: "text (is the object encoded twice?)", list: "a list", bool: "true or false", type(None): "null"}
#: The words of a name: ``verify_tls``, ``verifyTls`` and ``verify-tls`` have the same two.
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


class AirflowConnection(Protocol):
    """What is read of Airflow's ``Connection``."""

    conn_type: str | None
    host: str | None
    port: int | None
    schema: str | None
    password: str | None

    @property
    def extra(self) -> str | None:
        """The extras as they are stored. Airflow's ``extra_dejson`` makes ``{}`` of what it cannot read."""


@dataclass(frozen=True, kw_only=True)
class TrutoConnection:
    """A connection as it was read. ``warnings`` name extras that mean nothing, to this provider or beside others."""

    settings: ClientSettings
    token: Token
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConnectionReading:
    """What came of reading a connection: it, or every problem of it, each under the name of its field.

    The error is raised from here, where no local variable holds a secret: some print them with a traceback, such as
    ``dag.test()`` of Airflow 3.0, or send them away with it, as Sentry does.
    """

    subject: str
    connection: TrutoConnection | None
    problems: tuple[Problem, ...]

    def get(self) -> TrutoConnection:
        """Return the connection. Raises ``TrutoSchemaError`` where it cannot be used."""
        if self.connection is None:
            raise TrutoSchemaError.of(f"{self.subject} cannot be used", self.problems)
        return self.connection


def read_connection(
    conn: AirflowConnection,
    *,
    conn_id: str | None,
    overrides: Mapping[str, Any],
    user_agent: str,
    hide_values: bool,
    allowed_hosts: str = "",
) -> ConnectionReading:
    """Read a connection; ``overrides`` are a hook's arguments and win over the extras of the same names.

    ``conn_id`` is for messages; ``None`` where it says nothing, as in a connection test of Airflow's.
    ``allowed_hosts`` is the setting of that name, ``""`` for any.
    """
    problems: list[Problem] = []
    hosts = _read_or_note(problems, "/allowed_hosts", lambda: _parse_hosts(allowed_hosts)) or frozenset()
    token = _read_or_note(problems, "/password", lambda: _read_token(conn.password))
    url = _read_or_note(problems, "/host", lambda: build_base_url(conn))
    extras = _strip_prefixes(_read_or_note(problems, "/extra", lambda: _read_extras(conn)) or {}, problems)
    unknown, refused = _find_unknown(extras)
    problems += refused
    values: dict[str, Any] = {}
    settings: ClientSettings | None = None
    for extra in EXTRA_FIELDS:
        given = overrides.get(extra.name)
        source = "argument" if given is not None else "extra"
        raw = extras.get(extra.name) if given is None else given
        # The form stores an untouched field as null or empty; an argument that is empty was given so.
        if raw is not None and not (raw == "" and given is None):
            values[extra.name] = _read_or_note(problems, f"/{source}/{extra.name}", partial(_read_extra, extra, raw))
    if not problems:
        settings = _read_or_note(
            problems,
            "/connection",
            lambda: ClientSettings(
                base_url=url or "",
                user_agent=user_agent,
                name=_describe_connection(conn_id),
                hide_values=hide_values,
                **_name_settings(values),
            ),
        )
        if settings and hosts:
            problems += _find_ways_out(settings, hosts)
    connection = None
    if not problems and settings is not None and token is not None:
        warnings = (*_list_type_warnings(conn), *unknown, *_list_meaningless(settings))
        connection = TrutoConnection(settings=settings, token=token, warnings=warnings)
    return ConnectionReading(subject=_describe_connection(conn_id), connection=connection, problems=tuple(problems))


def _describe_connection(conn_id: str | None) -> str:
    return "this connection" if conn_id is None else f"the connection {conn_id!r}"


def _parse_hosts(text: str) -> frozenset[str]:
    """Read the setting ``allowed_hosts``. Raises ``ValueError`` where nothing would ever be one of them."""
    hosts = frozenset(host.strip().lower() for host in text.split(",") if host.strip())
    if text.strip() and not hosts:
        raise ValueError(
            f"[truto] allowed_hosts of this Airflow is {text!r}, which names no host: leave it empty to allow any"
        )
    if wrong := [host for host in sorted(hosts) if not _is_host(host)]:
        raise ValueError(
            f"[truto] allowed_hosts of this Airflow takes names of hosts, such as api.truto.one, without scheme, port"
            f" or path, separated by commas; got {', '.join(wrong)}"
        )
    return hosts


def _is_host(name: str) -> bool:
    try:
        parts = urlsplit(f"//{f'[{name}]' if name.count(':') > 1 else name}")
    except ValueError:
        return False
    return parts.netloc.strip("[]") == parts.hostname == name and not re.search(r"\s", name)


def _find_ways_out(settings: ClientSettings, hosts: frozenset[str]) -> list[Problem]:
    """Return a problem per way in which the token could go to other hosts.

    Somebody who may edit a connection must not learn its token. A proxy in the workers' environment was set by their
    operator, and is allowed. A CA bundle alone sends nothing elsewhere.
    """
    problems = []
    if settings.origin.host not in hosts:
        message = f"{settings.origin.host} is not among [truto] allowed_hosts of this Airflow"
        problems.append(Problem("/host", message))
    proxy = urlsplit(settings.proxy or "").hostname
    if proxy is not None and proxy not in hosts:
        message = (
            f"the proxy {proxy} is not among [truto] allowed_hosts of this Airflow: name it there, or set HTTPS_PROXY"
            " on the workers"
        )
        problems.append(Problem("/extra/proxy", message))
    if not settings.verify_tls:
        message = "must stay on where [truto] allowed_hosts is set: else any host can answer for an allowed one"
        problems.append(Problem("/extra/verify_tls", message))
    if settings.origin.scheme == "http" and not settings.origin.is_loopback:
        message = "means nothing where [truto] allowed_hosts is set: the API token would go unencrypted; use https"
        problems.append(Problem("/extra/allow_http", message))
    return problems


def _strip_prefixes(extras: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Return the extras without the form's prefix; two spellings of one that differ are a problem."""
    plain = {name: value for name, value in extras.items() if not name.startswith(_PREFIX)}
    for spelling in set(extras) - set(plain):
        name, value = spelling.removeprefix(_PREFIX), extras[spelling]
        if plain.setdefault(name, value) != value:
            problems.append(
                Problem(
                    f"/extra/{name}",
                    f"is given twice, with different values: as {name} and as {spelling}. Remove one",
                )
            )
    return plain


def _read_or_note(problems: list[Problem], pointer: str, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ValueError as error:
        problems.append(Problem(pointer, str(error)))
        return None


def _read_extras(conn: AirflowConnection) -> Mapping[str, Any]:
    """Read the extras, strictly: ignoring what cannot be read would also ignore the guards in it.

    Raises ``ValueError`` with a message that shows nothing of the extras.
    """
    try:
        text: Any = conn.extra
    except ValueError:  # Airflow 3 looks at it as well, and names a connection test's own id
        raise ValueError('is not a JSON object: write it as {"name": "value"}') from None
    if not text or not str(text).strip():
        return {}
    if isinstance(text, Mapping):
        return text
    try:
        value = parse_exact_json(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"is not JSON ({error}): names and text stand in double quotes, and no comma follows the last one"
        ) from None
    except RecursionError:
        raise ValueError("is not JSON: it is nested too deeply") from None
    if isinstance(value, dict):
        return value
    raise ValueError(f"expects a JSON object, got {_JSON_NAMES.get(type(value), 'a number')}")


def _read_token(password: str | None) -> Token:
    if not password:
        raise ValueError(
            "is empty: the API token goes there (in the form: API token; Airflow 2.11's form does not know the stored"
            " one, so type it once more to test)"
        )
    return Token(password)


def build_base_url(conn: AirflowConnection) -> str:
    """Put the base URL together from host, port and schema.

    A bare host means https; port 0 counts as unset. Raises ``ValueError`` where the parts contradict.
    """
    host = (conn.host or "").strip()
    if not host:
        host = DEFAULT_BASE_URL
    if "://" not in host:
        host = f"{(conn.schema or 'https').lower()}://{host}"
    elif conn.schema and conn.schema.lower() != urlsplit(host).scheme.lower():
        raise ValueError(
            f"the base URL {strip_user(host)!r} and the schema {conn.schema!r} contradict each other: leave the"
            " schema empty"
        )
    parts = urlsplit(host)
    port = _find_port(parts, conn.port)
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"the base URL {strip_user(host)!r} is not a http(s) URL")
    if "@" in parts.netloc:
        raise ValueError("the base URL must not hold a user or password: the API token goes into the password")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = name if port is None else f"{name}:{port}"
    return SplitResult(parts.scheme.lower(), netloc, parts.path.rstrip("/"), parts.query, parts.fragment).geturl()


def _find_port(parts: SplitResult, port: int | None) -> int | None:
    try:
        in_url = parts.port
    except ValueError as error:
        raise ValueError(f"the base URL's port: {error}") from None
    if port and in_url and port != in_url:
        raise ValueError(
            f"the base URL names port {in_url}, the connection's port is {port}: leave one of the two out"
        )
    return in_url or port or None


def _name_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return extras under the names of client settings; one that is not given keeps its default."""
    names = {extra.name: extra.name for extra in EXTRA_FIELDS} | {"timeout": "read_timeout"}
    return {names[name]: value for name, value in values.items()}


def _read_extra(extra: ExtraField, raw: Any) -> Any:
    value = _parse_json(raw) if isinstance(raw, str) and extra.type not in {"string", "account"} else raw
    match extra.type:
        case "string" if isinstance(value, str) and (not extra.choices or value in extra.choices):
            return value
        case "account" if raw == "" or find_account_fault(raw) is None:
            return raw  # an argument that is empty was given so, and no default steps in
        case "list" if (names := _parse_ids(raw)) is not None:
            return names
        case "boolean" if isinstance(value, bool):
            return value
        case "integer" if isinstance(value, int) and not isinstance(value, bool):
            return _check_minimum(extra, value)
        case "number" if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return _check_minimum(extra, value)
    wanted = {
        "string": f"one of {', '.join(extra.choices)}" if extra.choices else "text",
        "boolean": "true or false",
        "integer": "a whole number",
        "number": "a number",
        "account": "the UUID of an integrated account",
        "list": "UUIDs, separated by commas",
    }
    is_free = extra.type == "string" and not extra.choices  # a proxy's URL holds a password
    raise ValueError(f"expects {wanted[extra.type]}, got {type(raw).__name__ if is_free else repr(raw)}")


def _parse_ids(raw: Any) -> frozenset[str] | None:
    """Read ids given as text with commas or as a list; ``None`` where one is not a UUID: it would never match.

    Raises ``ValueError`` where there is not one id in it: none would mean all of them.
    """
    parsed = _parse_json(raw) if isinstance(raw, str) and raw.lstrip().startswith("[") else raw
    names = parsed.split(",") if isinstance(parsed, str) else parsed
    if not isinstance(names, (list, tuple, set, frozenset)):
        return None
    ids = [str(name).strip().lower() for name in names if name is not None and str(name).strip()]
    if not ids:
        raise ValueError(f"names no integrated account: {raw!r}. To allow all, leave it out, or the field empty")
    return frozenset(ids) if not any(map(find_account_fault, ids)) else None


def _check_minimum(extra: ExtraField, value: float) -> float:
    if extra.minimum is not None and value < extra.minimum:
        raise ValueError(f"must be {extra.minimum} or more, got {value}")
    return value


def _parse_json(text: str) -> Any:
    if text.strip().lower() in _BOOLEANS:
        return _BOOLEANS[text.strip().lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _find_unknown(extras: Mapping[str, Any]) -> tuple[list[str], list[Problem]]:
    """Name extras that mean nothing here: warnings, and problems where one may be meant as a guard."""
    known = [field.name for field in EXTRA_FIELDS]
    warnings, problems = [], []
    for name in sorted(set(extras) - set(known)):
        if guard := _find_meant_guard(name):
            problems.append(Problem(f"/extra/{name}", f"means nothing to this provider: did you mean {guard!r}?"))
            continue
        close = get_close_matches(name, known, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        warnings.append(f"the extra {name!r} means nothing to this provider and is ignored{hint}")
    return warnings, problems


def _find_meant_guard(name: str) -> str | None:
    """Return the guard that an unknown extra may be meant for."""
    guards = [field for field in EXTRA_FIELDS if field.guard_words]
    if near := find_nearest(name, [field.name for field in guards]):
        return near
    words = {word.lower() for word in _WORD.findall(name)}
    meant = [field.name for field in guards if words & field.guard_words]
    return get_close_matches(name, meant, n=1, cutoff=0.0)[0] if meant else None


def _list_meaningless(settings: ClientSettings) -> list[str]:
    """Name extras that are given and mean nothing beside others."""
    if settings.ca_bundle and not settings.verify_tls:
        return ["the extra 'ca_bundle' means nothing while 'verify_tls' is off: no certificate is checked"]
    return []


def _list_type_warnings(conn: AirflowConnection) -> list[str]:
    if conn.conn_type == CONNECTION_TYPE:
        return []
    return [f"its type is {conn.conn_type!r}, not {CONNECTION_TYPE!r}: is it the right connection?"]
