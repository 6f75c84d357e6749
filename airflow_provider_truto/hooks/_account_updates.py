"""Updates of accounts, as methods of both hooks: with an answer, as a stream, and as a preview."""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from operator import is_
from typing import Any, NamedTuple

from airflow_provider_truto.client.api import TrutoApi
from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.keys import CURRENT_TASK, FindKeys
from airflow_provider_truto.records.pipeline import send_record, write_record
from airflow_provider_truto.records.prepared import PreparedCache, PreparedWrites
from airflow_provider_truto.records.request import PACKAGED, RecordRequest, SchemaSource, build_account_update
from airflow_provider_truto.records.safeguards import Safeguards


class _Usual(NamedTuple):
    """Arguments of ``update_account`` that most updates are prepared by; id and body may be any."""

    integrated_account_id: str | None
    response_format: str
    ignore_remote_data: bool


class _Rare(NamedTuple):
    """Its other arguments but the safeguards: an update with any of them given is prepared for itself."""

    tenant_id: str | None = None
    integration: str | None = None
    exclude_fields: Sequence[str] | None = None
    remote_query: Mapping[str, Any] | None = None
    schema: SchemaSource = PACKAGED
    extra_fields: Sequence[str] | None = None
    allow_null: bool | Collection[str] = False
    allow_empty: bool = False
    idempotency_key: str | None = None


_DEFAULTS = (*_Rare(), *vars(Safeguards()).values())


class AccountUpdates(TrutoApi, ABC):
    """What a hook has beside Truto's API: account updates that are checked as those of the operator are.

    Strict: nothing is rendered or converted.
    """

    @cached_property
    def _prepared(self) -> PreparedCache:
        return PreparedCache()

    def update_account(
        self,
        account_id: str,
        body: Mapping[str, Any],
        *,
        integrated_account_id: str | None = None,
        tenant_id: str | None = None,
        integration: str | None = None,
        response_format: str = "unified",
        ignore_remote_data: bool = True,
        exclude_fields: Sequence[str] | None = None,
        remote_query: Mapping[str, Any] | None = None,
        schema: SchemaSource = PACKAGED,
        extra_fields: Sequence[str] | None = None,
        allow_null: bool | Collection[str] = False,
        allow_empty: bool = False,
        idempotency_key: str | None = None,
        context: Any = CURRENT_TASK,
        preflight: bool = False,
        expected_tenant_id: str | None = None,
        check_custom_fields: bool = False,
        expect: str | None = None,
        skip_unchanged: bool = False,
    ) -> Any:
        """Update one account of one customer's CRM: ``PATCH /unified/crm/accounts/{account_id}``.

        Return the JSON answer, ``{}`` for an empty one; where ``skip_unchanged`` finds nothing to send, the record as
        it is. Raises ``TrutoError``, and ``ValueError`` for ``response_format="stream"``: see ``stream_account``.

        :param account_id: the account's id in the customer's CRM.
        :param body: the fields to change.

        Target: whose CRM.

        :param integrated_account_id: the customer's integrated account; left out, the connection's default.
        :param tenant_id: names the customer instead, by your own id for them; looked up before the call.
        :param integration: with ``tenant_id``, which of the customer's accounts: ``"hubspot"``.

        Payload: what is sent beside the body, and what becomes of the answer.

        :param response_format: ``"unified"``, ``"normalized"`` or ``"raw"``.
        :param ignore_remote_data: leave the CRM's own record out of the answer.
        :param exclude_fields: fields to leave out of the answer.
        :param remote_query: query parameters that go to the CRM as they are.

        Safeguards: what has to be true before.

        :param schema: a JSON Schema, the path of one, ``"packaged"``, ``"live"`` for Truto's own of this integration,
            or ``None`` to check no body.
        :param extra_fields: names or JSON pointers of fields that the schema does not know and that are meant.
        :param allow_null: true, or the JSON pointers at which null is meant.
        :param allow_empty: let ``[]`` and ``{}`` through; they may wipe a list in the CRM.
        :param idempotency_key: Truto executes a key once. Without it the key is the task's, see ``context``.
        :param context: the context of the task whose key the call takes, so that a retry of it does not write again;
            equal calls of one task are numbered, so that each of them writes. Left out, it is that of the task that
            runs; in a sensor, and outside of a task, the key is random. ``None``: a random key.
        :param preflight: make sure that the account is active, not blocked, and has the method.
        :param expected_tenant_id: refuse an integrated account that belongs to any other tenant.
        :param check_custom_fields: refuse custom fields that this customer's CRM does not have.
        :param expect: the hash of a preview: send only where it would change just what was previewed.
        :param skip_unchanged: read the record first and send only the top-level fields that differ.

        Source: Truto's docs/api-reference/unified-crm-api/accounts/update.
        """
        if response_format == "stream":
            raise ValueError("response_format='stream' has no JSON answer: call stream_account")
        usual = _Usual(integrated_account_id, response_format, ignore_remote_data)
        rare = _Rare(
            tenant_id=tenant_id,
            integration=integration,
            exclude_fields=exclude_fields,
            remote_query=remote_query,
            schema=schema,
            extra_fields=extra_fields,
            allow_null=allow_null,
            allow_empty=allow_empty,
            idempotency_key=idempotency_key,
        )
        safeguards = Safeguards(
            preflight=preflight,
            expected_tenant_id=expected_tenant_id,
            check_custom_fields=check_custom_fields,
            expect=expect,
            skip_unchanged=skip_unchanged,
        )
        find_keys = self.find_keys(context)
        given = (*rare, *vars(safeguards).values())
        if all(map(is_, given, _DEFAULTS)) and _is_well_typed(usual):
            return self.do(_write_usual, account_id, body, usual, cache=self._prepared, find_keys=find_keys)
        request = build_account_update(account_id, body, **usual._asdict(), **rare._asdict())
        return self.do(_write, request, safeguards=safeguards, find_keys=find_keys)

    def stream_account(
        self,
        account_id: str,
        body: Mapping[str, Any],
        *,
        integrated_account_id: str | None = None,
        tenant_id: str | None = None,
        integration: str | None = None,
        ignore_remote_data: bool = True,
        exclude_fields: Sequence[str] | None = None,
        remote_query: Mapping[str, Any] | None = None,
        schema: SchemaSource = PACKAGED,
        extra_fields: Sequence[str] | None = None,
        allow_null: bool | Collection[str] = False,
        allow_empty: bool = False,
        idempotency_key: str | None = None,
        context: Any = CURRENT_TASK,
    ) -> Any:
        """Update an account and return the CRM's answer as an iterable of bytes, never held in memory.

        The write has happened when this returns. Iterating only reads, and raises ``TrutoTransportError`` where the
        answer breaks off. Arguments are those of ``update_account``.

        :param account_id: the account's id in the customer's CRM.
        :param body: the fields to change.

        Target: whose CRM.

        :param integrated_account_id: the customer's integrated account; left out, the connection's default.
        :param tenant_id: names the customer instead, by your own id for them; looked up before the call.
        :param integration: with ``tenant_id``, which of the customer's accounts: ``"hubspot"``.

        Payload: what is sent beside the body, and what becomes of the answer.

        :param ignore_remote_data: ask for an answer without the CRM's own record.
        :param exclude_fields: fields to leave out of the answer.
        :param remote_query: query parameters that go to the CRM as they are.

        Safeguards: what has to be true before.

        :param schema: what checks the body: a JSON Schema, its path, ``"packaged"``, ``"live"`` or ``None``.
        :param extra_fields: fields that the schema does not know and that are meant.
        :param allow_null: true, or the JSON pointers at which null is meant.
        :param allow_empty: let ``[]`` and ``{}`` through.
        :param idempotency_key: Truto executes a key once. Without it the key is the task's, see ``context``.
        :param context: the context of the task whose key the call takes; left out, that of the task that runs.
            Without a task, and for ``None``, the key is random.
        """
        request = build_account_update(
            account_id,
            body,
            response_format="stream",
            integrated_account_id=integrated_account_id,
            tenant_id=tenant_id,
            integration=integration,
            ignore_remote_data=ignore_remote_data,
            exclude_fields=exclude_fields,
            remote_query=remote_query,
            schema=schema,
            extra_fields=extra_fields,
            allow_null=allow_null,
            allow_empty=allow_empty,
            idempotency_key=idempotency_key,
        )
        return self.do(_stream, request, find_keys=self.find_keys(context))

    def preview_account(
        self,
        account_id: str,
        body: Mapping[str, Any],
        *,
        integrated_account_id: str | None = None,
        tenant_id: str | None = None,
        integration: str | None = None,
        response_format: str = "unified",
        ignore_remote_data: bool = True,
        exclude_fields: Sequence[str] | None = None,
        remote_query: Mapping[str, Any] | None = None,
        schema: SchemaSource = PACKAGED,
        extra_fields: Sequence[str] | None = None,
        allow_null: bool | Collection[str] = False,
        allow_empty: bool = False,
    ) -> Any:
        """Return what an update would change, and send nothing.

        Return ``{"hash", "changes": [{"pointer", "before", "after"}]}``. The hash goes to ``update_account`` as
        ``expect``, which then applies only what was previewed. What changes the request is part of the hash, and has
        to be the same there: the customer, the record, the body, ``response_format``, ``ignore_remote_data``,
        ``exclude_fields``, ``remote_query``. What only checks the body is not. Arguments are those of
        ``update_account``.

        :param account_id: the account's id in the customer's CRM.
        :param body: the fields that would be changed.

        Target: whose CRM.

        :param integrated_account_id: the customer's integrated account; left out, the connection's default.
        :param tenant_id: names the customer instead, by your own id for them; looked up before the call.
        :param integration: with ``tenant_id``, which of the customer's accounts: ``"hubspot"``.

        Payload: what the update would send beside the body, and what would become of its answer.

        :param response_format: as for the update; part of the hash.
        :param ignore_remote_data: as for the update; part of the hash.
        :param exclude_fields: as for the update; part of the hash.
        :param remote_query: query parameters that go to the CRM as they are.

        Safeguards: what has to be true of the body.

        :param schema: what checks the body: a JSON Schema, its path, ``"packaged"``, ``"live"`` or ``None``.
        :param extra_fields: fields that the schema does not know and that are meant.
        :param allow_null: true, or the JSON pointers at which null is meant.
        :param allow_empty: let ``[]`` and ``{}`` through.
        """
        request = build_account_update(
            account_id,
            body,
            integrated_account_id=integrated_account_id,
            tenant_id=tenant_id,
            integration=integration,
            response_format=response_format,
            ignore_remote_data=ignore_remote_data,
            exclude_fields=exclude_fields,
            remote_query=remote_query,
            schema=schema,
            extra_fields=extra_fields,
            allow_null=allow_null,
            allow_empty=allow_empty,
        )
        return self.do(_make_preview, request)


def _is_well_typed(usual: _Usual) -> bool:
    """Whether it is of its types, so that it equals only what means the same."""
    account, response_format, ignore_remote_data = usual
    return (
        (account is None or isinstance(account, str))
        and isinstance(response_format, str)
        and isinstance(ignore_remote_data, bool)  # which 1 is not, although it equals True
    )


async def _write_usual(
    client: Client,
    account_id: str,
    body: Mapping[str, Any],
    usual: _Usual,
    *,
    cache: PreparedCache,
    find_keys: FindKeys,
) -> Any:
    prepared = cache.get(usual, client.settings)
    if prepared is not None and (valid := prepared.admit(account_id, body)) is not None:
        return (await send_record(client, valid, find_keys=find_keys)).response
    request = build_account_update(account_id, body, **usual._asdict())
    written = await write_record(client, request, find_keys=find_keys)
    if written.result is not None:
        cache.put(usual, client.settings, PreparedWrites(written.request, written.result.request))
    return written.response


async def _write(client: Client, request: RecordRequest, *, safeguards: Safeguards, find_keys: FindKeys) -> Any:
    return (await write_record(client, request, safeguards=safeguards, find_keys=find_keys)).response


async def _stream(client: Client, request: RecordRequest, *, find_keys: FindKeys) -> Any:
    result = (await write_record(client, request, find_keys=find_keys)).result
    return result.response.stream if result else None


async def _make_preview(client: Client, request: RecordRequest) -> dict[str, Any] | None:
    preview = (await write_record(client, request, safeguards=Safeguards(preview=True))).preview
    return preview.as_dict() if preview else None
