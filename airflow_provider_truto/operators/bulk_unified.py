"""The operator for many records of any model and resource of Truto's unified API."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import Any

from airflow_provider_truto._compat import NOTSET, ArgNotSet
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.connection_fields import DEFAULT_CONN_ID
from airflow_provider_truto.operators._bulk import (
    MatchBy,
    MatchOn,
    OnAmbiguous,
    OnClear,
    OnMissing,
    OnRemoved,
    OnSourceChange,
    TrutoBulkOperator,
)
from airflow_provider_truto.operators._record import Verify
from airflow_provider_truto.operators._signature import defer_required_check
from airflow_provider_truto.records.request import PACKAGED, OnNone, SchemaSource, explain_method_slip


class TrutoBulkUnifiedOperator(TrutoBulkOperator):
    """Write many records of any unified model and resource, of many customers, in one task.

    The ledger under ``output_path`` accounts for every record; a retry, or a cleared failed task, continues where it
    was left, and nothing is written twice.

    Target: whose CRMs, and what is called there.

    :param model: the unified model, ``"crm"``. (templated)
    :param resource: the resource, ``"contacts"``. (templated)
    :param method: ``update``, ``create``, ``delete``, or the name of a custom method. Records of a create need no
        ``id``, those of a delete no ``body``, those of a custom method neither. (templated)
    :param integrated_account_id: the customer of records that name none; left out, the connection's default.
        (templated)
    :param truto_conn_id: the Airflow connection. (templated)

    Payload: the records, and the ledger that accounts for them.

    :param source: the records ``{"id", "body", "integrated_account_id"?}``, of which ``tenant_id`` (and
        ``integration``) may name the customer instead: a list, the output of another task, or the path of a file, a
        folder or a glob on any ``ObjectStoragePath``, or a list of paths: JSON Lines (``.jsonl``, ``.ndjson``), or
        CSV or Parquet whose columns are those names and paths into the body (``owner.id``, ``addresses[0].city``),
        also gzipped. Files are read in the order of their names. (templated)
    :param sql: instead of ``source``, a query whose columns are those of a CSV, or the name of a ``.sql`` file. It is
        run once: its rows are kept beside the ledger for later tries. A NULL leaves its field out, unless
        ``on_none="null"``. (templated)
    :param sql_conn_id: the connection to run it on, of any type whose hook is a ``DbApiHook``. (templated)
    :param query_parameters: the values of the query's placeholders. (templated)
    :param hook_params: further arguments of that connection's hook, such as a warehouse or a database. (templated)
    :param query: deprecated, write ``sql``. (templated)
    :param mapping: makes records of rows of a different shape: ``{"id", "integrated_account_id"?, "body"}`` whose
        texts are templates of ``row``, as in ``{"id": "{{ row.crm_id }}", "body": {"name": "{{ row.name }}"}}``; or a
        function of yours, also by its name (``"my_package.my_module.to_record"``), that returns such a record for a
        row, or ``None`` to leave the row out, which is accounted for as ``unchanged``. The same row must give the
        same record each time. A row that it fails on is a failed record. Never rendered by Airflow.
    :param match_on: what rows without an ``id`` find their record by: the name of a field, such as ``"website"``,
        ``"custom_fields.external_id"`` or ``"email_addresses"``; a function of yours that reads a value from a body
        and from a CRM's record alike, also by its name (``"my_package.my_module:read_key"``); or a list of these, of
        which the first that finds a record decides. Never rendered.
    :param match_by: how the CRM is asked for them: for one ``"list"`` of all its records, with a ``"filter"`` for
        each row where Truto documents one, or by whatever costs fewer calls (``"auto"``). (templated)
    :param on_missing: what becomes of a row whose record there is not: ``"create"`` it, ``"skip"`` the row, or
        ``"fail"`` it. (templated)
    :param on_ambiguous: what becomes of a row that several records fit: ``"fail"`` or ``"skip"``. (templated)
    :param shard: which part of the source this task does, an item of ``operators.bulk.shards(n)``:
        ``.partial(…).expand(shard=shards(8))``. Each task reads the whole source, or runs the query, and takes its
        own share of the limits: set ``requests_per_second`` to 50 / n, and with ``shards(n, by="id")``, which splits
        one customer's records, to 5 / n. The number must not change between the tries of a run. (templated)
    :param delimiter: what separates the cells of a CSV: one character, such as ``";"`` or a tab. (templated)
    :param null_marker: the text of a cell that is sent as null; an empty cell of a CSV leaves its field out. Not with
        rows of JSON, and not with ``mapping``, which gets an empty cell as ``None``. (templated)
    :param on_none: what a null in a record's body means: ``"error"``, ``"omit"`` the field, or send ``"null"``.
        (templated)
    :param output_path: an ``ObjectStoragePath`` for the ledger, which a resume needs: it must outlive the worker.
        (templated)

    Safeguards: what has to be true, and how fast and how often it is tried.

    :param max_failures: how many failed and skipped records the task may have and still succeed: a number, a share
        such as ``0.01``, or ``None`` to report only. You must choose. (templated)
    :param stop_after: how many failures end the task in the middle, without a retry: a number, or a share once so
        many records are done, ``(0.05, 200)``. A customer whose records alone fail is given up instead, and the
        others go on. Clearing the task goes on with what is left. (templated)
    :param max_changes: how many records a run may change, or nothing is sent: a number, a share of the rows below 1,
        or ``(1.5, 7)``: within that factor of what the last 7 runs of this task had, in rows as well as in changes.
        The source is read once more for it. (templated)
    :param preview: read everything and say what would be done, in files beside the ledger, with a hash of it; send
        nothing. Up to ten records of each customer and kind are read to show what would differ, and with
        ``skip_unchanged`` all. (templated)
    :param expect: the hash of a preview, ``p2-…``: send only where just that would be done. The source is read once
        more for it. (templated)
    :param skip_on: names of errors, such as ``("not_found",)``: a record that meets one is ``skipped`` and
        ``tolerated``, which is not a failure. Where it holds for a whole customer, as ``"reauthorization_required"``,
        that customer's other records are skipped without a call. (templated)
    :param schema: ``"packaged"``, ``"live"``, a JSON Schema or the path of one, or ``None``; as for
        ``TrutoUnifiedOperator``. Never rendered.
    :param extra_fields: names or JSON pointers of fields that the schema does not know and that are meant.
        (templated)
    :param allow_empty: let ``[]`` and ``{}`` through; they may wipe a list in the CRM. (templated)
    :param check_custom_fields: ask which custom fields each customer's CRM has, type by them, and refuse unknown or
        read-only ones. (templated)
    :param preflight: before a customer's first record, make sure that the account is active, not blocked, and has the
        method: once per customer and try. (templated)
    :param expected_tenant_id: refuse the records of an integrated account that belongs to any other tenant; looked up
        once per customer and try. (templated)
    :param skip_unchanged: read each record first and send only the top-level fields that differ. (templated)
    :param changed_only: send only records that are not as they were when an earlier run of this task confirmed them,
        as a state file beside the ledgers remembers; the others count as ``unchanged``. For updates. (templated)
    :param full_every: with ``changed_only``, seconds or a ``timedelta`` after which a run sends every record again:
        people change records in the CRM as well. ``None``: never. (templated)
    :param state_path: an ``ObjectStoragePath`` for that state, in a folder per server; left out,
        ``<output_path>/<dag>/<task>/state``.
        (templated)
    :param on_removed: with ``changed_only``, what becomes of records that an earlier run has written and the source
        does not have any more: ``"ignore"``, ``"report"`` in the ledger, ``"clear_fields"`` that were written, or
        ``"delete"`` the record. Done after all others, and never where a row could not be read. (templated)
    :param max_removed: with ``on_removed``, how many of the known records may have left the source in one run: a
        number, a share, or ``None`` for any. If there are more, none is touched, and the task fails. (templated)
    :param verify: what to do with fields that an answer does not confirm: ``"warn"``, ``"fail"`` (the record is a
        failure then, although it was written, and is not sent again), or ``None``. (templated)
    :param validate_first: check the whole source before the first write; a later try checks the rows that are not
        done yet. If a row is invalid, nothing is sent. If no earlier try has sent anything either, correct the rows:
        the next try reads the source again, or runs the query again. (templated)
    :param concurrency: the largest number of calls in flight. (templated)
    :param requests_per_second: instead of the connection's: this task's share. (templated)
    :param max_runtime: seconds, or a ``timedelta``, after which this try ends; the next one continues. (templated)
    :param defer_wait_over: seconds, or a ``timedelta``: where all customers that are left are told to wait longer,
        the task is deferred until the first may go on, and then continues its ledger. ``None``: never. (templated)
    :param on_source_change: where the source is not that of the first try: ``"error"``, or ``"restart"`` in a new
        ledger. (templated)
    :param on_clear: what clearing this task means where the bulk was not finished: to continue its ledger under its
        keys (``"resume"``), or to begin a new one, in which every record is written again under new keys
        (``"restart"``). A retry continues its ledger either way. (templated)

    Flags, numbers and choices may also be text, as templates render it: ``"false"``, ``"32"``. Any other value
    fails the task before anything is sent and before a ledger is begun.

    XCom: ``return_value`` are the counts, paths and times; ``progress``, while it runs, is how far it is.
    """

    @defer_required_check
    def __init__(
        self,
        *,
        model: str,
        resource: str,
        method: str = "update",
        integrated_account_id: str | ArgNotSet = NOTSET,
        truto_conn_id: str = DEFAULT_CONN_ID,
        source: Any = None,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        query_parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        hook_params: Mapping[str, Any] | str | None = None,
        query: str | None = None,
        mapping: Mapping[str, Any] | Callable[[Any], Any] | str | None = None,
        match_on: MatchOn | None = None,
        match_by: MatchBy | str = "auto",
        on_missing: OnMissing | str = "fail",
        on_ambiguous: OnAmbiguous | str = "fail",
        shard: Mapping[str, Any] | Sequence[int] | str | None = None,
        delimiter: str = ",",
        null_marker: str | None = None,
        on_none: OnNone | str = "error",
        output_path: str | PathLike[str],
        max_failures: float | str | None,
        stop_after: int | Sequence[float] | str | None = None,
        max_changes: float | Sequence[float] | str | None = None,
        preview: bool | str = False,
        expect: str | ArgNotSet = NOTSET,
        skip_on: Collection[str] | str = (),
        schema: SchemaSource = PACKAGED,
        extra_fields: Sequence[str] | str | None = None,
        allow_empty: bool | str = False,
        check_custom_fields: bool | str = False,
        preflight: bool | str = False,
        expected_tenant_id: str | ArgNotSet = NOTSET,
        skip_unchanged: bool | str = False,
        changed_only: bool | str = False,
        full_every: float | timedelta | str | None = None,
        state_path: str | PathLike[str] | None = None,
        on_removed: OnRemoved | str = "ignore",
        max_removed: float | str | None = 0.01,
        verify: Verify | str = "warn",
        validate_first: bool | str = False,
        concurrency: int | str = 32,
        requests_per_second: float | str | None = None,
        max_runtime: float | timedelta | str | None = None,
        defer_wait_over: float | timedelta | str | None = 60.0,
        on_source_change: OnSourceChange | str = "error",
        on_clear: OnClear | str = "resume",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._take(locals())

    def _find_contradictions(self, given: Mapping[str, Any], present: Collection[str]) -> Iterator[Problem]:
        yield from super()._find_contradictions(given, present)
        method = given.get("method", self.method)
        if method in {"list", "get"}:
            yield Problem("/method", f"a bulk writes, and {method} reads: use TrutoUnifiedOperator")
        elif given.get("preview") and method not in {"create", "update", "delete", None}:
            yield Problem("/preview", f"is for create, update and delete, not for {method}")
        elif (slip := explain_method_slip(method)) is not None:
            yield Problem("/method", slip)
