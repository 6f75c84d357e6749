"""The operator for the CRM's own API behind Truto."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_truto.operators._arguments import NOT_GIVEN, REQUIRED
from airflow_provider_truto.operators._calls import TrutoCallOperator
from airflow_provider_truto.operators._operator import templated


class TrutoProxyOperator(TrutoCallOperator):
    """Call ``/proxy/{resource}``: list, get, create, update, delete, or a custom method, in the CRM's own shape.

    Nothing is mapped by Truto, so that no schema checks the body and no field of the answer is verified.

    :param resource: the resource by the CRM's own name, case-sensitive; see the account's capabilities. (templated)
    :param method: ``list``, ``get``, ``create``, ``update``, ``delete``, or the name of a custom method. (templated)
    :param record_id: the record's id in the customer's CRM, for get, update and delete. (templated)

    The others are those of ``TrutoCallOperator``.
    """

    def __init__(
        self, *, resource: str = REQUIRED, method: str = REQUIRED, record_id: str = NOT_GIVEN, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._take(resource=resource, method=method, record_id=record_id)

    template_fields: Sequence[str] = (*templated(__init__), *TrutoCallOperator.template_fields)
