"""The operator for any model, resource and method of Truto's unified API."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import Any, ClassVar

from airflow_provider_truto._compat import NOTSET, ArgNotSet
from airflow_provider_truto.connection_fields import DEFAULT_CONN_ID
from airflow_provider_truto.operators._record import TrutoRecordOperator, Verify
from airflow_provider_truto.operators._signature import defer_required_check
from airflow_provider_truto.operators.bulk_unified import TrutoBulkUnifiedOperator
from airflow_provider_truto.records.request import PACKAGED, OnNone, ResponseFormat, SchemaSource

__all__ = ["TrutoBulkUnifiedOperator", "TrutoUnifiedOperator"]


class TrutoUnifiedOperator(TrutoRecordOperator):
    """Call ``/unified/{model}/{resource}``: list, get, create, update, delete, or a custom method.

    Target: whose CRM, and what is called there.

    :param model: the unified model, ``"crm"``. (templated)
    :param resource: the resource, ``"contacts"``. (templated)
    :param method: ``list``, ``get``, ``create``, ``update``, ``delete``, or the name of a custom method. (templated)
    :param record_id: the record's id in the customer's CRM, for get, update and delete. (templated)
    :param integrated_account_id: the customer's integrated account (a UUID); left out, the connection's default. One
        that is given and renders to nothing is an error. (templated)
    :param tenant_id: names the customer instead, by your own id for them; looked up before the call. (templated)
    :param integration: with ``tenant_id``, which of the customer's accounts: ``"hubspot"``. (templated)
    :param truto_conn_id: the Airflow connection. (templated)

    Payload: what is sent, and what becomes of the answer.

    :param body: what to send, as a dict, JSON text or the output of another task. (templated)
    :param body_file: instead of ``body``, a JSON file found like a template; its strings are rendered. (templated)
    :param query: query parameters of the method, such as filters. ``limit`` is the number of records per *page* of a
        list, which is read to its end all the same. (templated)
    :param on_none: what a template that gives ``None`` means: ``"error"``, ``"omit"`` the field, or send ``"null"``.
        A ``None`` that is written in the DAG file is always sent as null, which clears the field. (templated)
    :param remote_query: query parameters that go to the CRM as they are. (templated)
    :param response_format: ``unified``, ``raw``, ``normalized`` or ``stream``; the last needs ``output_path``.
        (templated)
    :param ignore_remote_data: leave the CRM's own record out of the answer. (templated)
    :param exclude_fields: fields to leave out of the answer. (templated)
    :param output_path: an ``ObjectStoragePath`` for a streamed answer, for one too large for XCom, or for a list, as
        JSON Lines. (templated)
    :param max_records: how many *records* of a list are enough: it ends with the page in which it reaches them.
        (templated)

    Safeguards: what has to be true before, and after.

    :param schema: ``"packaged"`` for this package's schema where it has one (crm accounts update), ``"live"`` for
        what Truto says of this customer's integration, a JSON Schema (draft 2020-12) or the path of one, absolute or
        beside the DAG file; ``None`` checks no body. Never rendered.
    :param extra_fields: names or JSON pointers of fields that the schema does not know and that are meant.
        (templated)
    :param allow_empty: let an update send ``[]`` and ``{}``; they may wipe a list in the CRM. (templated)
    :param check_custom_fields: ask which custom fields this customer's CRM has, type by them, and refuse unknown or
        read-only ones. For crm accounts, contacts and opportunities. (templated)
    :param preflight: before the call, make sure that the account is active, not blocked, and has the method.
        (templated)
    :param expected_tenant_id: refuse an integrated account that belongs to any other tenant. (templated)
    :param preview: read the record, say what would be changed, with a hash of it, and send nothing. (templated)
    :param expect: the hash of a preview: send only where it would change just what was previewed. (templated)
    :param skip_unchanged: read the record first and send only the top-level fields that differ, nothing where none
        does. Not a lock: somebody else may write in between. (templated)
    :param verify: what to do with fields that the answer does not confirm: ``"warn"``, ``"fail"`` (the write has
        happened then), or ``None``. (templated)
    :param skip_on: names of errors that skip the task instead of failing it, such as ``("not_found",)``. (templated)
    :param idempotency_key: a key of your own. Truto executes a key once per account and path, also after a clear.
        (templated)
    :param defer_wait_over: seconds, or a timedelta: a longer wait that is asked for defers the task, which then sends
        from a worker under the same key. ``None`` waits in the worker. (templated)

    Flags, numbers and choices may also be text, as templates render it: ``"false"``, ``"32"``. Any other value
    fails the task, and nothing is sent. XCom: ``return_value`` is the response; status, attempts, verification,
    preview, cursor and paths are under ``truto``; how far a long list is, is under ``progress`` while it is read.
    """

    @defer_required_check
    def __init__(
        self,
        *,
        model: str,
        resource: str,
        method: str,
        record_id: str | ArgNotSet = NOTSET,
        integrated_account_id: str | ArgNotSet = NOTSET,
        tenant_id: str | ArgNotSet = NOTSET,
        integration: str | ArgNotSet = NOTSET,
        truto_conn_id: str = DEFAULT_CONN_ID,
        body: Mapping[str, Any] | str | ArgNotSet = NOTSET,
        body_file: str | PathLike[str] | None = None,
        query: Mapping[str, Any] | str | None = None,
        on_none: OnNone | str = "error",
        remote_query: Mapping[str, Any] | str | None = None,
        response_format: ResponseFormat | str = "unified",
        ignore_remote_data: bool | str = True,
        exclude_fields: Sequence[str] | str | None = None,
        output_path: str | PathLike[str] | None = None,
        max_records: int | str | None = None,
        schema: SchemaSource = PACKAGED,
        extra_fields: Sequence[str] | str | None = None,
        allow_empty: bool | str = False,
        check_custom_fields: bool | str = False,
        preflight: bool | str = False,
        expected_tenant_id: str | ArgNotSet = NOTSET,
        preview: bool | str = False,
        expect: str | ArgNotSet = NOTSET,
        skip_unchanged: bool | str = False,
        verify: Verify | str = "warn",
        skip_on: Collection[str] | str = (),
        idempotency_key: str | None = None,
        defer_wait_over: float | timedelta | str | None = 60.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._take(locals())

    template_fields_renderers: ClassVar[dict[str, str]] = {"body": "json", "query": "json", "remote_query": "json"}
