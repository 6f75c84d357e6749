"""Comparing what was asked with what the CRM answered.

Truto answers 2xx also where the CRM ignored a field, and drops fields that an integration does not map. The
answer holds the record after the write, so that most of it can be seen there: each field was taken, changed by the
CRM, or is not confirmed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_truto.records.parse import describe_other_record, find_other_record
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.schemas.formats import parse_date_time
from airflow_provider_truto.schemas.pointers import extend_pointer

#: Goes to the CRM as it is and comes back in the CRM's own shape.
NEVER_COMPARED = frozenset({"remote_data"})
#: Pairs of items that are compared for one list: each asked one with each of the answer, which may be of any length.
_MOST_COMPARISONS = 50_000


@dataclass(frozen=True, kw_only=True)
class Verification:
    """JSON pointers into the body, each in one of four groups.

    ``taken``: answered as asked. ``changed``: answered in a different form of the same (a normalised phone number,
    an added id, ``Z`` for ``+00:00``). ``not_confirmed``: absent, or a different value. ``unverifiable``: the
    answer cannot tell (excluded fields, ``raw``, ``stream``, ``remote_data``).
    """

    taken: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    not_confirmed: tuple[str, ...] = ()
    unverifiable: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, list[str]]:
        """Return the groups as JSON for XCom."""
        return {name: list(getattr(self, name)) for name in ("taken", "changed", "not_confirmed", "unverifiable")}


def verify(request: RecordRequest, response: Any) -> Verification:
    """Group every field of a create's or update's body by what the answer says of it. Raises nothing.

    ``/id`` is not confirmed where the answer, of a get as well, is about another record than the one asked for.
    """
    identity = [] if find_other_record(request, response) is None else ["/id"]
    if not request.needs_body or not isinstance(request.body, dict):
        return Verification(not_confirmed=tuple(identity))
    asked: dict[str, Any] = request.body
    readable = (
        request.model is not None
        and request.response_format in {"unified", "normalized"}
        and isinstance(response, dict)
    )
    hidden = NEVER_COMPARED | set(request.exclude_fields or ())
    groups: dict[str, list[str]] = {"taken": [], "changed": [], "not_confirmed": identity, "unverifiable": []}
    for name, value in asked.items():
        if not readable or name in hidden:
            groups["unverifiable"].append(extend_pointer("", name))
            continue
        got = response.get(name)
        if not isinstance(value, dict) and _is_equal(value, got):  # most are, and what follows takes its time
            groups["taken"].append(extend_pointer("", name))
            continue
        for pointer, group in _compare(value, got, extend_pointer("", name)):
            groups[group].append(pointer)
    return Verification(**{group: tuple(pointers) for group, pointers in groups.items()})


def find_not_confirmed(request: RecordRequest, response: Any) -> tuple[str, ...]:
    """Return ``verify``'s ``not_confirmed`` alone: at once where the answer has all that was asked for."""
    if find_other_record(request, response) is None and _has_all(request.body, response):
        return ()
    return verify(request, response).not_confirmed


def _has_all(asked: Any, got: Any) -> bool:
    """Whether an answer has what was asked for; its objects may have other fields beside those."""
    if isinstance(asked, dict) and asked and isinstance(got, dict):
        return _has_values(asked, got, is_met=_has_all)
    return _is_equal(asked, got)


def describe_doubts(request: RecordRequest, response: Any, verification: Verification) -> str:
    """Return in a sentence or two what an answer does not confirm; ``""`` where it confirms everything it can."""
    fields = [pointer for pointer in verification.not_confirmed if pointer != "/id" or "id" in (request.body or {})]
    sentences = []
    if (other := find_other_record(request, response)) is not None:
        sentences.append(f"{request}: {describe_other_record(request, other)}.")
    if fields:
        sentences.append(
            f"{request}: the write was answered with success, but the answer does not confirm {', '.join(fields)}."
            " The integration may not map these fields, or the CRM kept its own values: look at the record, and at"
            " the fields that this CRM supports."
        )
    return " ".join(sentences)


def _compare(asked: Any, got: Any, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(asked, dict) and asked and isinstance(got, dict):
        for key, value in asked.items():
            yield from _compare(value, got.get(key), extend_pointer(at, key))
    elif isinstance(asked, list) and asked and isinstance(got, list):
        yield at, _group_list(asked, got, at)
    else:
        yield at, _group_value(asked, got, at)


def _group_list(asked: list[Any], got: list[Any], at: str) -> str:
    """Every asked item must be found in the answer; more or otherwise ordered ones are the CRM's doing."""
    if _is_equal(asked, got):
        return "taken"
    if len(asked) * len(got) > _MOST_COMPARISONS:
        return "unverifiable"
    groups = []
    rest = list(got)
    for item in asked:
        ranked = sorted(((_group(item, candidate, at), place) for place, candidate in enumerate(rest)), key=_rank)
        group, place = ranked[0] if ranked else ("not_confirmed", None)
        if group != "not_confirmed" and place is not None:
            rest.pop(place)
        groups.append(group)
    worst = max(groups, key=_WORST.__getitem__)
    return "changed" if worst == "taken" and len(got) != len(asked) else worst


def _group(asked: Any, got: Any, at: str) -> str:
    """Return the worst group of everything in one item; an object with more keys than asked was changed."""
    groups = {group for _, group in _compare(asked, got, at)}
    if (
        isinstance(asked, dict)
        and isinstance(got, dict)
        and any(got.get(key) is not None for key in got.keys() - asked)
    ):
        groups.add("changed")
    return max(groups, key=_WORST.__getitem__)


_WORST = {"taken": 0, "changed": 1, "unverifiable": 2, "not_confirmed": 3}


def _rank(candidate: tuple[str, int]) -> tuple[int, int]:
    return _WORST[candidate[0]], candidate[1]


def _group_value(asked: Any, got: Any, at: str) -> str:
    if _is_equal(asked, got):
        return "taken"
    if is_empty(asked):
        return "changed" if is_empty(got) else "not_confirmed"
    return "changed" if got is not None and _means_the_same(asked, got, at) else "not_confirmed"


def _is_equal(asked: Any, got: Any) -> bool:
    """Whether both are the same JSON; Python alone would take ``True`` for 1."""
    if isinstance(asked, dict):
        return isinstance(got, dict) and asked.keys() == got.keys() and _has_values(asked, got, is_met=_is_equal)
    if isinstance(asked, list):
        return isinstance(got, list) and len(asked) == len(got) and all(map(_is_equal, asked, got))
    return bool(asked == got) and isinstance(asked, bool) == isinstance(got, bool)


def _has_values(asked: dict[str, Any], got: dict[str, Any], *, is_met: Callable[[Any, Any], bool]) -> bool:
    """Whether an object has what was asked for of each name; ``is_met`` compares what is not text."""
    # Neither a generator nor a call for each text: most values are one, and each record is looked at.
    for name, value in asked.items():
        other = got.get(name)
        if value != other if type(value) is str else not is_met(value, other):
            return False
    return True


def is_empty(value: Any) -> bool:
    """Whether a value is one of those that CRMs hold for nothing."""
    return value in (None, "", [], {})


def _means_the_same(asked: Any, got: Any, at: str) -> bool:
    if isinstance(asked, (dict, list)) or isinstance(got, (dict, list)):
        return False
    asked_text, got_text = normalize_scalar(asked), normalize_scalar(got)
    if asked_text == got_text:
        return True
    return isinstance(asked, str) and isinstance(got, str) and is_same_in_another_form(asked_text, got_text, at)


def is_same_in_another_form(asked: str, got: str, at: str) -> bool:
    """Whether two texts are the same moment, the same site or, under a pointer to a phone, the same number."""
    if is_same_moment(asked, got):
        return True
    if "phone" in at:  # elsewhere the same digits mean nothing: ids, postal codes, money
        return _is_same_phone(asked, got)
    return _is_same_url(asked, got)


def is_same_moment(asked: str, got: str) -> bool:
    """Whether two texts are the same moment, maybe in two zones."""
    moments = parse_date_time(asked.upper()), parse_date_time(got.upper())
    return moments[0] is not None and moments[0] == moments[1]


def normalize_scalar(value: Any) -> str:
    """Write a scalar as text in which neither its type nor case and white space count."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split()).casefold()


def extract_phone_digits(text: str) -> str | None:
    """Return the digits of a phone number, ``None`` for other text."""
    return re.sub(r"\D", "", text) if re.fullmatch(r"\+?[\d\s().\-/]{5,}", text) else None


def _is_same_phone(asked: str, got: str) -> bool:
    """Whether two phone numbers have the same digits, one maybe without its country code."""
    digits = sorted((extract_phone_digits(text) or "" for text in (asked, got)), key=len)
    return len(digits[0]) >= 7 and digits[1].endswith(digits[0])


def _is_same_url(asked: str, got: str) -> bool:
    """Whether both name the same site: with or without scheme, ``www.`` and a final slash.

    The case of a host does not count where a scheme or ``www.`` says that it is one.
    """
    heads = [re.match(r"(https?://)?(www\.)?", text, re.IGNORECASE) for text in (asked, got)]
    starts = [head.end() if head else 0 for head in heads]
    bare = [text[start:].removesuffix("/") for text, start in zip((asked, got), starts, strict=True)]
    if any(starts):
        parts = [text.partition("/") for text in bare]
        bare = [f"{host.casefold()}{slash}{path}" for host, slash, path in parts]
    return bare[0] == bare[1] != ""
