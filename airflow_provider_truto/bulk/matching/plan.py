"""How rows without an id find their records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_truto.bulk.matching.rule import MatchRule
from airflow_provider_truto.client.errors import Problem, TrutoSchemaError

OnMissing = Literal["create", "skip", "fail"]
OnAmbiguous = Literal["fail", "skip"]
MatchBy = Literal["auto", "list", "filter"]


@dataclass(frozen=True, kw_only=True)
class MatchPlan:
    """By what rows find their records, and what becomes of those that find none or several.

    ``by`` says how the CRM is asked: for a ``"list"`` of all its records, with a ``"filter"`` for each row, or
    whichever costs fewer calls as far as that can be known (``"auto"``).
    """

    rule: MatchRule
    on_missing: OnMissing = "fail"
    on_ambiguous: OnAmbiguous = "fail"
    by: MatchBy = "auto"


def make_match_plan(match_on: Any, **options: Any) -> MatchPlan | None:
    """Make the plan of arguments; ``None`` without ``match_on``.

    Raises ``TrutoSchemaError`` for a ``match_on`` that means nothing, such as a function that does not exist.
    """
    if match_on is None:
        return None
    try:
        return MatchPlan(rule=MatchRule(match_on), **options)
    except ValueError as error:
        raise TrutoSchemaError.of("no record can be found", [Problem("/match_on", str(error))]) from error
