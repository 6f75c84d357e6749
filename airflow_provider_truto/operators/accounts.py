"""Operators for the accounts (companies) of customers' CRMs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import Any, ClassVar

from airflow_provider_truto._compat import NOTSET, ArgNotSet
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.connection_fields import DEFAULT_CONN_ID
from airflow_provider_truto.operators._record import TrutoRecordOperator, Verify
from airflow_provider_truto.operators._signature import defer_required_check
from airflow_provider_truto.operators.bulk_accounts import TrutoBulkUpdateAccountsOperator
from airflow_provider_truto.records.request import PACKAGED, OnNone, ResponseFormat, SchemaSource

__all__ = ["TrutoBulkUpdateAccountsOperator", "TrutoUpdateAccountOperator"]


class TrutoUpdateAccountOperator(TrutoRecordOperator):
    """Update one account of one customer's CRM: ``PATCH /unified/crm/accounts/{account_id}``.

    The body is rendered with its types kept, typed, checked before anything is sent, sent once however often
    the task is retried, and compared with the answer. A cleared task writes again.

    Target: whose CRM, and what is called there.

    :param account_id: the account's id in the customer's CRM. (templated)
    :param integrated_account_id: the customer's integrated account (a UUID); left out, the connection's default. One
        that is given and renders to nothing is an error. (templated)
    :param tenant_id: names the customer instead, by your own id for them; looked up before the call. (templated)
    :param integration: with ``tenant_id``, which of the customer's accounts: ``"hubspot"``. (templated)
    :param truto_conn_id: the Airflow connection. (templated)

    Payload: what is sent, and what becomes of the answer.

    :param body: the fields to change, as a dict, JSON text or the output of another task. (templated)
    :param body_file: instead of ``body``, a JSON file found like a template; its strings are rendered. (templated)
    :param on_none: what a template that gives ``None`` means: ``"error"``, ``"omit"`` the field, or send ``"null"``.
        A ``None`` that is written in the DAG file is always sent as null, which clears the field. (templated)
    :param remote_query: query parameters that go to the CRM as they are. (templated)
    :param response_format: ``unified``, ``raw``, ``normalized`` or ``stream``; the last needs ``output_path``.
        (templated)
    :param ignore_remote_data: leave the CRM's own record out of the answer. (templated)
    :param exclude_fields: fields to leave out of the answer. (templated)
    :param output_path: an ``ObjectStoragePath`` for a streamed answer, or for one too large for XCom. (templated)

    Safeguards: what has to be true before, and after.

    :param schema: ``"packaged"`` for this package's schema, ``"live"`` for what Truto says of this customer's
        integration, a JSON Schema (draft 2020-12) or the path of one, absolute or beside the DAG file; ``None``
        checks no body. Never rendered.
    :param extra_fields: names or JSON pointers of fields that the schema does not know and that are meant.
        (templated)
    :param allow_empty: let an update send ``[]`` and ``{}``; they may wipe a list in the CRM. (templated)
    :param check_custom_fields: ask which custom fields this customer's CRM has, type by them, and refuse unknown or
        read-only ones. (templated)
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
    fails the task, and nothing is sent.

    XCom: ``return_value`` is the response, always with ``id``; status, attempts, verification, preview and paths are
    under ``truto``.
    """

    model = "crm"
    resource = "accounts"
    method = "update"
    id_name: ClassVar[str] = "account_id"
    needs_id: ClassVar[bool] = True

    @defer_required_check
    def __init__(
        self,
        *,
        account_id: str,
        integrated_account_id: str | ArgNotSet = NOTSET,
        tenant_id: str | ArgNotSet = NOTSET,
        integration: str | ArgNotSet = NOTSET,
        truto_conn_id: str = DEFAULT_CONN_ID,
        body: Mapping[str, Any] | str | ArgNotSet = NOTSET,
        body_file: str | PathLike[str] | None = None,
        on_none: OnNone | str = "error",
        remote_query: Mapping[str, Any] | str | None = None,
        response_format: ResponseFormat | str = "unified",
        ignore_remote_data: bool | str = True,
        exclude_fields: Sequence[str] | str | None = None,
        output_path: str | PathLike[str] | None = None,
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
        if not self.is_given("body") and self.body_file is None:
            self._refuse([Problem("/body", "is missing: give either body or body_file")])

    template_fields_renderers: ClassVar[dict[str, str]] = {"body": "json", "remote_query": "json"}
