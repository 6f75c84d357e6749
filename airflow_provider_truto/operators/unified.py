"""The operator for any model, resource and method of Truto's unified API."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.operators._arguments import BULK_ARGUMENTS, NOT_GIVEN, REQUIRED
from airflow_provider_truto.operators._bulk import TrutoBulkOperator
from airflow_provider_truto.operators._calls import TrutoCallOperator
from airflow_provider_truto.operators._operator import templated
from airflow_provider_truto.records.request import PACKAGED, SchemaSource, explain_method_slip


class TrutoUnifiedOperator(TrutoCallOperator):
    """Call ``/unified/{model}/{resource}``: list, get, create, update, delete, or a custom method.

    :param model: the unified model, ``"crm"``. (templated)
    :param resource: the resource, ``"contacts"``. (templated)
    :param method: ``list``, ``get``, ``create``, ``update``, ``delete``, or the name of a custom method. (templated)
    :param record_id: the record's id in the customer's CRM, for get, update and delete. (templated)
    :param response_format: ``unified``, ``raw``, ``normalized`` or ``stream``; the last needs ``output_path``.
        (templated)
    :param ignore_remote_data: leave the CRM's own record out of the answer. (templated)
    :param exclude_fields: fields to leave out of the answer. (templated)
    :param remote_query: parameters that go to the CRM as they are. (templated)
    :param schema: ``"packaged"`` for this package's schema where it has one (crm accounts update), ``"live"`` for
        what Truto says of this customer's integration, a JSON Schema (draft 2020-12) or the path of one, absolute or
        beside the DAG file; ``None`` checks no body. Never rendered.
    :param extra_fields: names or JSON pointers of fields that the schema does not know and that are meant.
        (templated)
    :param allow_empty: let an update send ``[]`` and ``{}``; they may wipe a list in the CRM. (templated)
    :param check_custom_fields: ask which custom fields this customer's CRM has, type by them, and refuse unknown or
        read-only ones. For crm accounts, contacts and opportunities. (templated)

    The others are those of ``TrutoCallOperator``.
    """

    def __init__(
        self,
        *,
        model: str = REQUIRED,
        resource: str = REQUIRED,
        method: str = REQUIRED,
        record_id: str = NOT_GIVEN,
        response_format: str = "unified",
        ignore_remote_data: bool | str = True,
        exclude_fields: Sequence[str] | str | None = None,
        remote_query: Mapping[str, Any] | str | None = None,
        schema: SchemaSource = PACKAGED,
        extra_fields: Sequence[str] | str | None = None,
        allow_empty: bool | str = False,
        check_custom_fields: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._take(
            model=model,
            resource=resource,
            method=method,
            record_id=record_id,
            response_format=response_format,
            ignore_remote_data=ignore_remote_data,
            exclude_fields=exclude_fields,
            remote_query=remote_query,
            schema=schema,
            extra_fields=extra_fields,
            allow_empty=allow_empty,
            check_custom_fields=check_custom_fields,
        )

    template_fields: Sequence[str] = (*templated(__init__), *TrutoCallOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **TrutoCallOperator.template_fields_renderers,
        "remote_query": "json",
    }


class TrutoBulkUnifiedOperator(TrutoBulkOperator):
    """Write many records of any unified model and resource, of many customers, in one task.

    The ledger under ``output_path`` accounts for every record; a retry, or a cleared failed task, goes on where it
    was left, and nothing is written twice.

    :param model: the unified model, ``"crm"``. (templated)
    :param resource: the resource, ``"contacts"``. (templated)
    :param method: ``update``, ``create``, ``delete``, or the name of a custom method. Records of a create need no
        ``id``, those of a delete no ``body``, those of a custom method neither. (templated)

    The others are those of ``TrutoBulkOperator``.
    """

    def __init__(
        self, *, model: str = REQUIRED, resource: str = REQUIRED, method: str = "update", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._take(model=model, resource=resource, method=method)
        self._check_literals("method")

    template_fields: Sequence[str] = (*templated(__init__, BULK_ARGUMENTS), *TrutoBulkOperator.template_fields)

    def _contradictions(self, given: Mapping[str, Any], present: Collection[str]) -> Iterator[Problem]:
        yield from super()._contradictions(given, present)
        if given.get("method") in {"list", "get"}:
            yield Problem("/method", f"a bulk writes, and {given['method']} reads")
        elif (slip := explain_method_slip(given.get("method"))) is not None:
            yield Problem("/method", slip)
