"""Waiting until a record of a customer's CRM meets a condition."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_truto._compat import NOTSET, ArgNotSet, conf
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.connection_fields import DEFAULT_CONN_ID
from airflow_provider_truto.operators._signature import defer_required_check
from airflow_provider_truto.sensors._sensor import TrutoSensor
from airflow_provider_truto.triggers.records import TrutoRecordTrigger, log_unmet

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoHook

#: What a record means that does not exist.
OnMissing = Literal["wait", "fail"]
#: What says which record, and when it is as it should be.
_SUBJECT = (
    *("model", "resource", "record_id", "integrated_account_id", "tenant_id", "integration", "query"),
    *("ignore_remote_data", "fields", "condition", "function", "values", "on_missing"),
)
#: What Airflow calls the module of a DAG file, and Python the one that is run as a script.
_OF_DAG_FILES = ("unusual_prefix_", "__main__")


class TrutoRecordSensor(TrutoSensor):
    """Wait until a record of a customer's CRM meets a condition: ``GET /unified/{model}/{resource}/{id}``.

    All of ``fields``, ``condition`` and ``function`` that are given must hold; without any, the record must exist.

    Target: whose CRM, and which record.

    :param model: the unified model, ``"crm"``. (templated)
    :param resource: the resource, ``"accounts"``. (templated)
    :param record_id: the record's id in the customer's CRM. (templated)
    :param integrated_account_id: the customer's integrated account (a UUID); left out, the connection's default. One
        that is given and renders to nothing is an error. (templated)
    :param tenant_id: names the customer instead, by your own id for them; looked up before the call. (templated)
    :param integration: with ``tenant_id``, which of the customer's accounts: ``"hubspot"``. (templated)
    :param truto_conn_id: the Airflow connection. (templated)

    Payload: what is waited for.

    :param fields: values by field, nested as in the record (``{"owner": {"id": "7"}}``) or by JSON pointer
        (``{"/custom_fields/tier": "gold"}``). An object is compared by the keys that are given. A number and its
        text, a time in a different zone, and spellings of a phone number mean the same, as for ``skip_unchanged``; a
        null or empty value waits for an empty field. (templated)
    :param condition: a Jinja expression over ``record`` and ``values`` that must be true:
        ``"record.updated_at | as_datetime > values.since | as_datetime"``. As long as a field that it asks for is
        absent it is not true, unless it says otherwise (``record.owner is defined``). Never rendered: put what
        changes into ``values``.
    :param function: a function of yours, or its dotted name, that takes the record, and ``values`` as keyword
        arguments, and returns ``True`` or ``False``. Deferred, the triggerer imports it. Never rendered.
    :param values: what ``condition`` and ``function`` get beside the record, an object. (templated)
    :param on_missing: what it means that the record does not exist: ``"wait"``, since it may come to, or ``"fail"``.
        (templated)
    :param query: query parameters of the read. (templated)
    :param ignore_remote_data: leave the CRM's own record out of the answer. (templated)

    Safeguards: how it waits.

    :param deferrable: wait in the triggerer. The default is ``[operators] default_deferrable``.
    :param max_failed_polls: how many looks in a row may fail, as in an outage, before the task does. (templated)

    ``poke_interval``, ``timeout`` (seconds or a timedelta), ``mode`` and ``soft_fail`` are Airflow's own.

    XCom: ``return_value`` is the record.
    """

    template_fields_renderers: ClassVar[dict[str, str]] = {"fields": "json", "query": "json", "values": "json"}
    record_id: Any
    ignore_remote_data: Any

    @defer_required_check
    def __init__(
        self,
        *,
        model: str,
        resource: str,
        record_id: str,
        integrated_account_id: str | ArgNotSet = NOTSET,
        tenant_id: str | ArgNotSet = NOTSET,
        integration: str | ArgNotSet = NOTSET,
        truto_conn_id: str = DEFAULT_CONN_ID,
        fields: Mapping[str, Any] | str | None = None,
        condition: str | None = None,
        function: Callable[..., bool] | str | None = None,
        values: Mapping[str, Any] | str | None = None,
        on_missing: OnMissing | str = "wait",
        query: Mapping[str, Any] | str | None = None,
        ignore_remote_data: bool | str = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        max_failed_polls: int | str = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._take(locals())

    def _find_contradictions(self, given: Mapping[str, Any], present: Collection[str]) -> Iterator[Problem]:
        yield from super()._find_contradictions(given, present)
        is_any = not {"fields", "condition", "function"}.isdisjoint(present)
        if not is_any and given.get("on_missing") == "fail":
            yield Problem("/on_missing", "leaves nothing to wait for: give fields, condition or function, or 'wait'")
        if "values" in present and {"condition", "function"}.isdisjoint(present):
            yield Problem("/values", "mean nothing without condition or function")
        function = given.get("function")
        if given.get("deferrable") and function is not None and function.startswith(_OF_DAG_FILES):
            yield Problem(
                "/function",
                f"the triggerer cannot import {function}, a function of the DAG file: put it into a module of a"
                " package or of the plugins folder, or set deferrable=False",
            )

    def look(self, hook: TrutoHook) -> Any:
        """Read the record once. Raises ``ConditionError`` where the condition cannot be judged."""
        from airflow_provider_truto.records.watch import RecordWatch
        from airflow_provider_truto.records.xcom import (
            XCOM_LIMIT,
            build_xcom_value,
            make_storable,
            measure_json,
            summarize,
        )

        watch = RecordWatch(**self._subject)
        record = hook.do(watch.read)
        unmet = watch.explain_unmet(record)
        log_unmet(self.log, watch, unmet)
        if unmet:
            return None
        value = build_xcom_value(record, self.record_id, without_remote_data=self.ignore_remote_data)
        size = measure_json(value)
        if size <= XCOM_LIMIT:
            return make_storable(value)
        self.log.warning("The record has %d bytes, more than %d: only a summary goes to XCom", size, XCOM_LIMIT)
        return summarize(value, size=size)

    def make_trigger(self, **waiting: Any) -> TrutoRecordTrigger:
        """Make the trigger that waits for the record."""
        return TrutoRecordTrigger(**self._subject, **waiting)

    @property
    def _subject(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SUBJECT}
