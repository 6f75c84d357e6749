"""Operators for the accounts (companies) of customers' CRMs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.operators._arguments import NOT_GIVEN, REQUIRED
from airflow_provider_truto.operators._bulk import TrutoBulkOperator
from airflow_provider_truto.operators._operator import templated
from airflow_provider_truto.operators.unified import TrutoUnifiedOperator

#: What the unified operator asks and an account update is already.
_FIXED = ("model", "resource", "method", "record_id")


class TrutoUpdateAccountOperator(TrutoUnifiedOperator):
    """Update one account of one customer's CRM: ``PATCH /unified/crm/accounts/{account_id}``.

    The body is rendered with its types kept, typed, checked before anything is sent, sent once however often
    the task is retried, and compared with the answer. A cleared task writes again.

    :param account_id: the account's id in the customer's CRM. (templated)
    :param body: the fields to change, as a dict, JSON text or the output of another task. (templated)
    :param body_file: instead of ``body``, a JSON file found like a template; its strings are rendered.

    The others are those of ``TrutoUnifiedOperator`` and ``TrutoCallOperator``.

    XCom: ``return_value`` is the response, always with ``id``; status, attempts, verification, preview and paths are
    under ``truto``.
    """

    id_name: ClassVar[str] = "account_id"
    needs_id: ClassVar[bool] = True

    def __init__(self, *, account_id: str = REQUIRED, **kwargs: Any) -> None:
        meant_for_others = [name for name in _FIXED if kwargs.pop(name, NOT_GIVEN) is not NOT_GIVEN]
        super().__init__(model="crm", resource="accounts", method="update", **kwargs)
        self._take(account_id=account_id)
        self._refuse(
            Problem(f"/{name}", "is not an argument of an account update: TrutoUnifiedOperator makes other calls")
            for name in meant_for_others
        )
        if not self._taken["body"] and self.body_file is None:
            self._refuse([Problem("/body", "is missing: give either body or body_file")])

    template_fields: Sequence[str] = (
        *templated(__init__),
        *filter(lambda name: name not in _FIXED, TrutoUnifiedOperator.template_fields),
    )


class TrutoBulkUpdateAccountsOperator(TrutoBulkOperator):
    """Update many accounts of many customers' CRMs in one task: each record walks the way of a single update.

    The ledger under ``output_path`` accounts for every record; a retry, or a cleared failed task, goes on where it
    was left, and nothing is written twice. Arguments are those of ``TrutoBulkOperator``.
    """

    model = "crm"
    resource = "accounts"
    method = "update"
