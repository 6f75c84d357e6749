"""Waiting until a record of a customer's CRM meets a condition."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.triggers.base import PollingTrigger

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoAsyncHook
    from airflow_provider_truto.records.watch import RecordWatch


class TrutoRecordTrigger(PollingTrigger):
    """Waits until a unified record meets a condition; its arguments are those of ``TrutoRecordSensor``.

    What the author wrote as code arrives here as text: the expression itself, and a function's dotted name, which the
    triggerer imports. Both run in a thread of their own, and never in the triggerer's loop.

    :param model: the unified model.
    :param resource: the resource.
    :param record_id: the record.
    :param integrated_account_id: the customer's integrated account; or
    :param tenant_id: your own id of the customer, and
    :param integration: which of their accounts.
    :param query: query parameters of the read.
    :param ignore_remote_data: leave the CRM's own record out.
    :param fields: field equalities.
    :param condition: an expression.
    :param function: a function's dotted name.
    :param values: what the two get beside the record.
    :param on_missing: what a record means that does not exist: ``"wait"`` or ``"fail"``.
    :param truto_conn_id: the Airflow connection, which the triggerer reads.
    :param poll_interval: seconds between two polls.
    :param deadline: when to give up, in seconds since 1970 (UTC); there is one more look then.
    :param max_failed_polls: how many polls in a row may fail before the task is told.
    """

    def __init__(
        self,
        *,
        model: str,
        resource: str,
        record_id: str,
        integrated_account_id: str | None = None,
        tenant_id: str | None = None,
        integration: str | None = None,
        query: Mapping[str, Any] | None = None,
        ignore_remote_data: bool = True,
        fields: Mapping[str, Any] | None = None,
        condition: str | None = None,
        function: str | None = None,
        values: Mapping[str, Any] | None = None,
        on_missing: str = "wait",
        truto_conn_id: str,
        poll_interval: float,
        deadline: float,
        max_failed_polls: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            truto_conn_id=truto_conn_id,
            poll_interval=poll_interval,
            deadline=deadline,
            max_failed_polls=max_failed_polls,
            **kwargs,
        )
        self._subject = {
            "model": model,
            "resource": resource,
            "record_id": record_id,
            "integrated_account_id": integrated_account_id,
            "tenant_id": tenant_id,
            "integration": integration,
            "query": query,
            "ignore_remote_data": ignore_remote_data,
            "fields": fields,
            "condition": condition,
            "function": function,
            "values": values,
            "on_missing": on_missing,
        }
        self._watch: RecordWatch | None = None
        self._told = ""

    @property
    def subject(self) -> Mapping[str, Any]:
        """The record, and the condition."""
        return self._subject

    async def poll(self, hook: TrutoAsyncHook) -> bool:
        """Read the record once."""
        if self._watch is None:
            self._watch = await asyncio.to_thread(_make_watch, self._subject)
        record = await hook.do(self._watch.read)
        unmet = await asyncio.to_thread(self._watch.explain_unmet, record)
        if unmet != self._told:
            self._told = unmet
            log_unmet(self.log, self._watch, unmet)
        return not unmet


def log_unmet(log: Any, watch: RecordWatch, unmet: str) -> None:
    """Log what is still waited for."""
    if unmet:
        log.info("%s: waiting, since %s", watch, unmet)


def _make_watch(arguments: Mapping[str, Any]) -> RecordWatch:
    from airflow_provider_truto.records.watch import RecordWatch  # slow to import, with the schemas that it needs

    return RecordWatch(**arguments)
