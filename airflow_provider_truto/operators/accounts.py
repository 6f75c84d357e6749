"""Operators for the accounts (companies) of customers' CRMs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_provider_truto.operators._bulk import TrutoBulkOperator
from airflow_provider_truto.operators.unified import TrutoUnifiedOperator


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
    template_fields: Sequence[str] = (
        "account_id",
        *TrutoUnifiedOperator.template_fields[len(("model", "resource", "method", "record_id")) :],
    )

    def __init__(self, *, account_id: str, **kwargs: Any) -> None:
        if "body" not in kwargs and kwargs.get("body_file") is None:
            raise ValueError("give either body or body_file")
        super().__init__(model="crm", resource="accounts", method="update", **kwargs)
        self.account_id = account_id


class TrutoBulkUpdateAccountsOperator(TrutoBulkOperator):
    """Update many accounts of many customers' CRMs in one task: each record walks the way of a single update.

    The ledger under ``output_path`` accounts for every record; a retry, or a cleared failed task, goes on where it
    was left, and nothing is written twice. Arguments are those of ``TrutoBulkOperator``.
    """

    model = "crm"
    resource = "accounts"
    method = "update"
