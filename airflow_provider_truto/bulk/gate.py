"""What a plan must be before its first write: the one that was expected, with no more changes than are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from logging import Logger
from typing import Any

from airflow_provider_truto.bulk.brakes import ChangeRule, PastRun
from airflow_provider_truto.bulk.errors import PlanRefusedError, UnfinishedError
from airflow_provider_truto.bulk.history import RunHistory
from airflow_provider_truto.bulk.preview import BulkPreview, is_full_plan
from airflow_provider_truto.client.plurals import count


@dataclass(frozen=True, kw_only=True)
class PlanGate:
    """What a plan is compared with. ``past`` has the earlier runs, where ``max_changes`` asks for them."""

    max_changes: ChangeRule | None = None
    expect: str | None = None
    past: RunHistory | None = None

    def at(self, server: str) -> PlanGate:
        """Return the gate with the past that a server has."""
        return self if self.past is None else replace(self, past=self.past.at(server))

    @property
    def needs_plan(self) -> bool:
        """Whether the source has to be read before the first write."""
        return self.max_changes is not None or self.expect is not None

    @property
    def expects_full(self) -> bool | None:
        """Whether the expected plan sends every record, whatever the state says; ``None`` where none is expected."""
        return None if self.expect is None else is_full_plan(self.expect)

    def check(self, plan: BulkPreview, *, log: Logger) -> None:
        """Raise ``PlanRefusedError`` where nothing of a plan may be sent, ``UnfinishedError`` where that is unclear.

        What is unclear counts as a change.
        """
        log.info("Before the first write: %s. Hash: %s", plan.describe(), plan.hash)
        unclear = plan.counts["unclear"]
        if self.expect is not None and plan.hash != self.expect and unclear:
            raise UnfinishedError(
                f"{count(unclear, 'row')} could not be decided on, since the customers could not be asked:"
                f" {plan.describe()}. Whether this is the plan of expect={self.expect!r} is not known, and nothing"
                " was sent; a retry asks again"
            )
        if self.expect is not None and plan.hash != self.expect:
            raise PlanRefusedError(
                f"what would be done is not what was previewed: {plan.describe()}. Its hash is {plan.hash}, and"
                f" expect={self.expect!r}: the source, the state, or what the CRM was found to hold has changed since"
                " the preview, or this task's arguments are not those of the preview. Nothing was sent. Preview"
                " again, and decide on that"
            )
        if (rule := self.max_changes) is None:
            return
        past = [] if self.past is None or rule.most is not None else self.past.read(rule.runs)
        if rule.most is None and not past:
            log.info("No earlier run of this task is known: max_changes=%s begins to hold with the next one", rule)
        if reason := rule.explain_refusal(rows=plan.rows, changes=plan.changes + unclear, past=past):
            raise PlanRefusedError(
                f"{reason} (max_changes={rule}). Nothing was sent. In all: {plan.describe()}. Look at the source; if"
                " it is right, clear this task with a higher max_changes: later runs are then compared with this"
                " one as well"
            )

    def check_begun(self, begun_with: Mapping[str, Any], ledger: Any) -> None:
        """Raise ``PlanRefusedError`` where a ledger was begun with a different plan than ``expect``."""
        begun = (begun_with.get("plan") or {}).get("hash")
        if self.expect is not None and begun != self.expect:
            raise PlanRefusedError(
                f"the ledger in {ledger} was begun with {'no expected plan' if begun is None else f'plan {begun}'},"
                f" and expect={self.expect!r}. This try has sent nothing. Preview again, and clear this task with"
                " on_clear='restart'; or give it the plan that it was begun with"
            )

    def note_end(self, plan: Mapping[str, Any] | None) -> None:
        """Note for later runs what a run had that came to its end; ``plan`` is as its ledger's header has it."""
        if plan is not None and self.past is not None:
            self.past.add(PastRun(rows=plan["rows"], changes=plan["changes"]))
