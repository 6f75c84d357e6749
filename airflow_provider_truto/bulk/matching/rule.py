"""By what a row finds its record: ``match_on``, read from the bodies of rows and from the records of a CRM alike.

    match_on="website"                               a domain, by its name
    match_on=["custom_fields.external_id", "name"]   in this order: the first by which any record is found decides
    match_on="my_package.my_module:read_key"         a function of the DAG's author

A value that was read becomes a key: a hash of the alternative and the normalised value. Only keys are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_provider_truto.bulk.matching.normalise import normalise_domain, normalise_email, normalise_text
from airflow_provider_truto.bulk.record import normalize_id
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.records.functions import import_function
from airflow_provider_truto.records.render import Missing

#: Bytes of a key: two different values never have the same one.
_KEY_BYTES = 12
_DOMAINS = frozenset({"website", "websites", "domain", "domains", "url", "urls", "homepage"})
_EMAILS = frozenset({"email", "emails", "email_address", "email_addresses"})
#: What an item of a list of objects holds its value under, where the path does not say.
_MEMBERS = {
    "a website": ("url", "website", "domain", "value"),
    "an e-mail address": ("email_address", "email", "value"),
}

#: The keys of a row or of a record: of each alternative, all that it has.
Keys = tuple[tuple[str, ...], ...]


class Kind(NamedTuple):
    """What a value is, for messages, and what makes its spellings one."""

    name: str
    normalise: Callable[[str], str | None]


_DOMAIN = Kind("a website", normalise_domain)
_EMAIL = Kind("an e-mail address", normalise_email)
_TEXT = Kind("text", normalise_text)
#: Of a function's values, which are what the DAG's author makes them.
_AS_IT_IS = Kind("text", lambda text: text.strip() or None)


class Found(NamedTuple):
    """The normalised values that a record has for an alternative, and why another value of it is not one."""

    values: tuple[str, ...]
    fault: str | None = None


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """One thing to find a record by. ``name`` tells it in messages, and its keys from those of the others."""

    name: str
    kind: Kind
    read: Callable[[Mapping[str, Any]], Any]
    is_function: bool = False

    def find(self, record: Mapping[str, Any]) -> Found:
        """Return the values of a row's body or a CRM's record. Raises what a function of the DAG's author raises."""
        values, fault = [], None
        for value in _flatten(self.read(record)):
            text = self._to_text(value)
            if isinstance(text, str) and not text.strip():
                continue
            normal = None if text is None else self.kind.normalise(text)
            if normal is None:
                fault = f"has {self.name}, which is not {self.kind.name}"
            else:
                values.append(normal)
        return Found(tuple(dict.fromkeys(values)), fault)

    def make_keys(self, values: Sequence[str]) -> tuple[str, ...]:
        """Return the keys of normalised values."""
        return tuple(_hash(f"{self.name}\0{value}") for value in values)

    def _to_text(self, value: Any) -> str | None:
        """Return the text of a value, ``""`` for none; ``None`` for one of a wrong kind."""
        if isinstance(value, Mapping):
            members = _MEMBERS.get(self.kind.name, ())
            value = next((value[name] for name in members if value.get(name)), value)
        value = normalize_id(value)
        if value is None or isinstance(value, Missing):
            return ""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, (bool, int, float)):
            return str(value).lower()
        return value if isinstance(value, str) else None


class MatchRule:
    """The alternatives of a ``match_on``, in their order. Raises ``ValueError`` for one that means nothing."""

    def __init__(self, match_on: Any) -> None:
        given = match_on if isinstance(match_on, (list, tuple)) else [match_on]
        if not given:
            raise ValueError("names nothing to find records by")
        self.alternatives = tuple(map(_parse_alternative, given))
        if len({one.name for one in self.alternatives}) < len(self.alternatives):
            raise ValueError("names something twice")

    @property
    def names(self) -> str:
        """The alternatives, for messages."""
        return " or ".join(one.name for one in self.alternatives)

    def read_row(self, body: Any) -> tuple[Keys, list[Problem]]:
        """Return the keys of a row's body, of each alternative; or why nothing can be found by any of them."""
        record = body if isinstance(body, Mapping) else {}
        if any(one.is_function for one in self.alternatives):
            record = _to_plain(record)
        keys, faults = [], []
        for one in self.alternatives:
            try:
                found = one.find(record)
            except Exception as error:  # the author's function, on data of any kind
                return (), [Problem("/match_on", f"{one.name} raised {type(error).__name__} for this row")]
            keys.append(one.make_keys(found.values))
            faults += [] if found.fault is None else [found.fault]
        if any(keys):
            return tuple(keys), []
        why = "; ".join(faults) or f"has no {self.names}"
        return (), [Problem("/match_on", f"{why}: nothing says which record the row means")]

    def read_record(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Iterate over the keys of a CRM's record. Raises what a function of the DAG's author raises."""
        for one in self.alternatives:
            yield from one.make_keys(one.find(record).values)

    def describe(self, body: Any, *, hide_values: bool) -> str:
        """Return what a row was looked for by: ``website 'acme.com' or name 'acme'``."""
        record = _to_plain(body if isinstance(body, Mapping) else {})
        found = {one.name: one.find(record).values for one in self.alternatives}
        return " or ".join(
            name if hide_values else f"{name} {' or '.join(map(repr, values))}"
            for name, values in found.items()
            if values
        )


def _parse_alternative(given: Any) -> Alternative:
    if callable(given):
        name = f"{getattr(given, '__module__', '')}:{getattr(given, '__qualname__', type(given).__qualname__)}"
        return Alternative(name=name, kind=_AS_IT_IS, read=given, is_function=True)
    if not isinstance(given, str) or not given.strip("/. "):
        raise ValueError(f"expects the name of a field, or a function, got {given!r}")
    if ":" in given:
        function = import_function(given, argument="match_on")
        return Alternative(name=given, kind=_AS_IT_IS, read=function, is_function=True)
    steps = _split_path(given)
    last = steps[-1]
    kind = _DOMAIN if last in _DOMAINS else _EMAIL if last in _EMAILS else _TEXT
    return Alternative(name=given, kind=kind, read=lambda record: _follow(record, steps))


def _split_path(path: str) -> Sequence[str]:
    """Split ``custom_fields.external_id``; where a name has a dot, write ``/custom_fields/a.b``."""
    if path.startswith("/"):
        return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]
    return path.split(".")


def _follow(value: Any, steps: Sequence[str]) -> Any:
    """Return what a path leads to, in a list what it leads to in each item."""
    for place, step in enumerate(steps):
        if isinstance(value, (list, tuple)):
            return [_follow(item, steps[place:]) for item in value]
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def _flatten(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _flatten(item)
    else:
        yield value


def _to_plain(value: Any) -> Any:
    """Return a body as a function of the DAG's author knows bodies: with ``None`` where data had no value."""
    if isinstance(value, Missing):
        return None
    if isinstance(value, Mapping):
        return {key: _to_plain(item) for key, item in value.items()}
    return list(map(_to_plain, value)) if isinstance(value, (list, tuple)) else value


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=_KEY_BYTES).hexdigest()
