"""The operator for any model, resource and method of Truto's unified API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_truto.operators._bulk import TrutoBulkOperator
from airflow_provider_truto.operators._calls import NOT_GIVEN, TrutoCallOperator
from airflow_provider_truto.updates.request import PACKAGED, SchemaSource


class TrutoUnifiedOperator(TrutoCallOperator):
    """Call ``/unified/{model}/{resource}``: list, get, create, update, delete, or a custom method.

    :param model: the unified model, ``"crm"``. (templated)
    :param resource: the resource, ``"contacts"``. (templated)
    :param method: ``list``, ``get``, ``create``, ``update``, ``delete``, or the name of a custom method. (templated)
    :param record_id: the record's id in the customer's CRM, for get, update and delete. (templated)
    :param response_format: ``unified``, ``raw``, ``normalized`` or ``stream``; the last needs ``output_path``.
        (templated)
    :param ignore_remote_data: leave the CRM's own record out of the answer.
    :param exclude_fields: fields to leave out of the answer. (templated)
    :param remote_query: parameters that go to the CRM as they are. (templated)
    :param schema: ``"packaged"`` for this package's schema where it has one (crm accounts update), ``"live"`` for
        what Truto says of this customer's integration, a JSON Schema (draft 2020-12) or the path of one, absolute or
        beside the DAG file; ``None`` checks no body. Never rendered.
    :param extra_fields: names or JSON pointers of fields that the schema does not know and that are meant.
        (templated)
    :param allow_empty: let an update send ``[]`` and ``{}``; they may wipe a list in the CRM.
    :param check_custom_fields: ask which custom fields this customer's CRM has, type by them, and refuse unknown or
        read-only ones. For crm accounts, contacts and opportunities.

    The others are those of ``TrutoCallOperator``.
    """

    template_fields: Sequence[str] = (
        "model",
        "resource",
        "method",
        "record_id",
        *TrutoCallOperator.template_fields,
        "response_format",
        "exclude_fields",
        "remote_query",
        "extra_fields",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **TrutoCallOperator.template_fields_renderers,
        "remote_query": "json",
    }

    def __init__(
        self,
        *,
        model: str,
        resource: str,
        method: str,
        record_id: str = NOT_GIVEN,
        response_format: str = "unified",
        ignore_remote_data: bool = True,
        exclude_fields: Sequence[str] | None = None,
        remote_query: Mapping[str, Any] | None = None,
        schema: SchemaSource = PACKAGED,
        extra_fields: Sequence[str] | None = None,
        allow_empty: bool = False,
        check_custom_fields: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.resource = resource
        self.method = method
        self.record_id = self._noted("record_id", record_id)
        self.response_format = response_format
        self.ignore_remote_data = ignore_remote_data
        self.exclude_fields = exclude_fields
        self.remote_query = remote_query
        self.schema = schema
        self.extra_fields = extra_fields
        self.allow_empty = allow_empty
        self.check_custom_fields = check_custom_fields


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

    template_fields: Sequence[str] = ("model", "resource", "method", *TrutoBulkOperator.template_fields)

    def __init__(self, *, model: str, resource: str, method: str = "update", **kwargs: Any) -> None:
        if method in {"list", "get"}:
            raise ValueError(f"method: a bulk writes, and {method} reads")
        super().__init__(**kwargs)
        self.model = model
        self.resource = resource
        self.method = method
