"""Comparing a body that is to be sent with the record as it is now: what the update would change.

This asks for less tolerance than verification does. There the write has happened, and what the CRM made of a value
is its own affair; here a difference that is overlooked is an update that is never sent.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from airflow_provider_truto.records.verify import (
    NEVER_COMPARED,
    extract_phone_digits,
    is_empty,
    is_same_moment,
    normalize_scalar,
)
from airflow_provider_truto.schemas.pointers import extend_pointer

_VERSION = "p1"
#: Items up to which a list may be in a different order. Finding an order takes the square of them; a longer list is
#: compared in its own, and at worst sent although nothing in it changes.
_LONGEST_UNORDERED = 200


class Change(NamedTuple):
    """One difference: a JSON pointer into the body, the value in the CRM (``None`` if absent), the one to send."""

    pointer: str
    before: Any
    after: Any


def list_changes(body: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[Change, ...]:
    """List what a body changes in a record, both JSON-plain, in the body's order. Raises nothing.

    Objects are compared key by key, by the keys that the body gives. A list is compared as a whole: it is the same
    where it is as long as the CRM's and each item has one of the CRM's for its own, objects in any order, in which
    every key that is given means the same. Meaning the same are a moment in a different zone, a phone number of the
    same digits, a number or boolean as text, text but for white space at its ends, and nothing (null, empty,
    absent) and nothing. ``remote_data`` is always a change with ``None`` before: the CRM takes it in a different
    shape than it shows.
    """
    return tuple(change for name in body for change in _iterate_changes(name, body, record))


def select_differing(body: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with only those top-level fields in which something changes, each of them whole.

    Not finer: a CRM may replace an object or a list by the one that is sent, and take what is left out for deleted.
    """
    return {name: value for name, value in body.items() if any(_iterate_changes(name, body, record))}


def hash_preview(*, path: str, integrated_account_id: str, body: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Hash what was previewed: the target, the body, and the present values of exactly the fields it names.

    The same for any order of keys and whatever else changes in the record; different as soon as a value changes that
    the body would overwrite, other items of a list that it names among them. What ``remote_data`` would overwrite
    is unknown and not in it.
    """
    present = {
        name: None if name in NEVER_COMPARED else _select_present(value, record.get(name))
        for name, value in body.items()
    }
    material = json.dumps([path, integrated_account_id, dict(body), present], sort_keys=True, separators=(",", ":"))
    return f"{_VERSION}-{hashlib.sha256(material.encode()).hexdigest()}"


def _iterate_changes(name: str, body: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[Change]:
    at = extend_pointer("", name)
    if name in NEVER_COMPARED:
        yield Change(at, None, body[name])
    else:
        yield from iterate_differences(body[name], record.get(name), at)


def iterate_differences(asked: Any, now: Any, at: str) -> Iterator[Change]:
    """Find where a value does not mean the same as the one that is asked for; ``at`` is the pointer to both.

    ``list_changes`` says what means the same.
    """
    members = _find_members(asked, now)
    if members is not None:
        for key, value in asked.items():
            yield from iterate_differences(value, members.get(key), extend_pointer(at, key))
    elif not _is_same(asked, now, at):
        yield Change(at, now, asked)


def _select_present(asked: Any, now: Any) -> Any:
    """Return the values that would be overwritten, key by key as far as keys are compared."""
    members = _find_members(asked, now)
    return now if members is None else {key: _select_present(value, members.get(key)) for key, value in asked.items()}


def _find_members(asked: Any, now: Any) -> dict[str, Any] | None:
    """Return the object to compare with key by key: for one that is absent an empty one, ``None`` for no object."""
    if not isinstance(asked, dict) or not asked:
        return None  # an empty object is a value: it may wipe what is there
    return {} if now is None else now if isinstance(now, dict) else None


def _is_same(asked: Any, now: Any, at: str) -> bool:
    if is_empty(asked) or is_empty(now):
        return is_empty(asked) and is_empty(now)
    if isinstance(asked, list) and isinstance(now, list):
        if len(asked) != len(now):
            return False
        # Objects have an identity that their place does not change; what else is in a list may stand in its order.
        are_objects = all(isinstance(item, dict) for item in (*asked, *now))
        return _is_matched(asked, now, at) if are_objects else _are_same_in_order(asked, now, at)
    if isinstance(asked, (dict, list)) or isinstance(now, (dict, list)):
        return False
    if isinstance(asked, str) and isinstance(now, str):
        asked, now = asked.strip(), now.strip()
        return asked == now or is_same_moment(asked, now) or ("phone" in at and _is_same_number(asked, now))
    return normalize_scalar(asked) == normalize_scalar(now)


def _is_same_number(asked: str, now: str) -> bool:
    digits = extract_phone_digits(asked)
    return bool(digits) and digits == extract_phone_digits(now)


def _are_same_in_order(asked: Sequence[Any], now: Sequence[Any], at: str) -> bool:
    return not any(any(iterate_differences(*pair, at)) for pair in zip(asked, now, strict=True))


def _is_matched(asked: Sequence[Any], now: Sequence[Any], at: str) -> bool:
    """Whether each item of ``asked`` can be matched with a different item of ``now`` that agrees with it.

    An item that asks little fits many, so one that was matched moves on to another where a later item needs its
    place (augmenting paths, without recursion).
    """
    if len(asked) > _LONGEST_UNORDERED:
        return _are_same_in_order(asked, now, at)
    fits: dict[tuple[int, int], bool] = {}
    item_of: dict[int, int] = {}
    place_of: dict[int, int] = {}
    for item in range(len(asked)):
        reached_by: dict[int, int] = {}
        waiting = deque([item])
        free: int | None = None
        while waiting and free is None:
            mover = waiting.popleft()
            for place in chain([mover], range(len(now))):  # mostly the order is the same
                if place in reached_by:
                    continue
                if (mover, place) not in fits:
                    fits[mover, place] = not any(iterate_differences(asked[mover], now[place], at))
                if fits[mover, place]:
                    reached_by[place] = mover
                    if place not in item_of:
                        free = place
                        break
                    waiting.append(item_of[place])
        while free is not None:
            mover = reached_by[free]
            left = place_of.get(mover)
            item_of[free], place_of[mover] = mover, free
            free = left
        if item not in place_of:
            return False
    return True
