"""Which errors ``skip_on`` names, and whether one of them may be passed over."""

from __future__ import annotations

from collections.abc import Collection

from airflow_provider_truto.client.errors import TrutoApiError, TrutoError
from airflow_provider_truto.client.statuses import find_meaning


def map_error_codes() -> dict[str, type[TrutoApiError]]:
    """Map the names that ``skip_on`` takes to their errors: ``not_found`` to ``TrutoNotFoundError``."""
    classes: dict[str, type[TrutoApiError]] = {}
    pending: list[type[TrutoApiError]] = TrutoApiError.__subclasses__()
    while pending:
        cls = pending.pop()
        classes[cls.code] = cls
        pending += cls.__subclasses__()
    return classes


def is_skipped(error: TrutoError, skip_on: Collection[str]) -> bool:
    """Whether ``skip_on`` names an error, or what it is a kind of.

    Not where the error means a mistake in the task itself.
    """
    if not skip_on:
        return False
    classes = map_error_codes()
    return any(isinstance(error, classes[code]) for code in skip_on) and _may_skip(error)


def _may_skip(error: TrutoError) -> bool:
    return not isinstance(error, TrutoApiError) or find_meaning(error.status, is_remote=error.is_remote).may_skip
