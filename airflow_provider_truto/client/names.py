"""Names as people and warehouses spell them: ``integratedAccountId`` and ``INTEGRATED_ACCOUNT_ID`` are one name.

A misspelt name of a field costs the field. A misspelt name of the customer, of the record or of a guard sends data
elsewhere, since something else steps in: the connection's default customer, or no guard at all.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from airflow_provider_truto.client.errors import Problem

#: Names that choose a customer by Truto's id, and by the caller's own; a CRM does not use them for its fields.
ACCOUNT_NAMES = ("integrated_account_id", "integrated_account")
CUSTOMER_NAMES = (*ACCOUNT_NAMES, "tenant_id")
#: The arguments, and keys of a row, that name a customer.
CUSTOMER_ARGUMENTS = ("integrated_account_id", "tenant_id", "integration")
#: The share of letters from which a name counts as another one with a slip in it. Of names that differ in a word
#: (``account_name``, ``parent_id``) it is 0.8 at most.
_NEAR = 0.85


def find_naming_problems(named: Collection[str]) -> Iterator[Problem]:
    """Find what is wrong with how a call names its customer; ``named`` are the arguments that are not ``None``.

    Where none of them is one of ``CUSTOMER_ARGUMENTS``, nothing is: the connection's default is meant.
    """
    if "integrated_account_id" in named and "tenant_id" in named:
        yield Problem("/tenant_id", "give either integrated_account_id or tenant_id")
    if "integration" in named and "tenant_id" not in named:
        yield Problem("/tenant_id", "is missing: integration alone names no customer")


@lru_cache(maxsize=4096)
def fold(name: str) -> str:
    """Return a name without what spellings differ in: case, ``_``, ``-``, ``.``, spaces, invisible characters."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold()))


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that this one spells otherwise or is a slip of; ``None`` where there is none."""
    own = fold(name)
    best, share = None, 0.0
    for candidate in known:
        other = fold(candidate)
        found = 1.0 if own == other else _measure_likeness(own, other)
        if found > share:
            best, share = candidate, found
    return best if share >= _NEAR else None


@lru_cache(maxsize=4096)  # the keys of a million bodies are a few names
def _measure_likeness(one: str, other: str) -> float:
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.ratio() if matcher.real_quick_ratio() >= _NEAR else 0.0


@lru_cache(maxsize=4096)
def find_customer_name(name: str) -> str | None:
    """Return the name that chooses a customer which this one spells, or nearly spells; ``None`` without one."""
    return find_nearest(name, CUSTOMER_NAMES)


def find_other_account(names: Iterable[Any]) -> str | None:
    """Return the first of the names that chooses a customer by Truto's id; ``None`` where there is none."""
    return next((name for name in names if isinstance(name, str) and _is_account_name(name)), None)


def find_other_customer(names: Iterable[Any]) -> str | None:
    """Return the first of the names that chooses a customer, by Truto's id or by the caller's own."""
    return next((name for name in names if isinstance(name, str) and find_customer_name(name)), None)


@lru_cache(maxsize=4096)
def _is_account_name(name: str) -> bool:
    return find_nearest(name, ACCOUNT_NAMES) is not None
