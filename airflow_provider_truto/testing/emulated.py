"""What the fixture `truto` is: an emulated Truto, and a worker that runs tasks against it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_truto.emulator import Emulator
from airflow_provider_truto.emulator.routes.mapping import to_unified
from airflow_provider_truto.emulator.state.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_truto.emulator.http.faults import Fault
    from airflow_provider_truto.emulator.state.accounts import IntegratedAccount
    from airflow_provider_truto.testing.worker import Worker


CONNECTION_VARIABLE = "AIRFLOW_CONN_TRUTO_DEFAULT"


@dataclass(frozen=True, kw_only=True)
class ReceivedRequest:
    """A call as it arrived at the emulator.

    `path` is that of the URL, such as `/unified/crm/accounts/23423523`. `query` holds the parameters, nested as Truto
    reads them, and their values are text. `body` is JSON, or `None`. Names of `headers` are lower-case, and
    `authorization` holds no token.
    """

    method: str
    path: str
    query: Mapping[str, Any]
    body: Any
    headers: Mapping[str, str]


class EmulatedTruto:
    """Truto and CRMs of seven customers, in the memory of the test, and the worker of one DAG run.

    Customers go by their tenant id, such as `acme`, or by the id of their integrated account.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    @cached_property
    def _worker(self) -> Worker:
        # Importing Airflow takes seconds, which a test of a hook need not pay.
        from airflow_provider_truto.testing.worker import Worker

        return Worker()

    @property
    def url(self) -> str:
        """The base URL, for a connection of the test's own."""
        return self.emulator.url

    @property
    def token(self) -> str:
        """The API token, for a connection of the test's own."""
        return self.emulator.token

    @property
    def connection(self) -> str:
        """An Airflow connection that leads here, as JSON for an environment variable."""
        extra = {"requests_per_second": 0}
        return json.dumps({"conn_type": "truto", "host": self.url, "password": self.token, "extra": extra})

    @property
    def requests(self) -> list[ReceivedRequest]:
        """Every call that has arrived in this test, oldest first, those that were refused included."""
        return [
            ReceivedRequest(
                method=request.method,
                path="".join(f"/{quote(segment, safe='')}" for segment in request.path),
                query=request.query,
                body=request.json_or_none(),
                headers=request.headers,
            )
            for request in self.emulator.state.requests.copy()
        ]

    def record(self, customer: str, resource: str, record_id: str) -> dict[str, Any] | None:
        """Return a record as the unified API shows it now; `None` where the customer's CRM does not have it.

        `resource` is `accounts`, or with its model `crm/accounts`. Raises `LookupError` for a customer or a resource
        that the emulator does not know.
        """
        account = self._find_account(customer)
        key = resource if "/" in resource else f"crm/{resource}"
        if key not in RESOURCES:
            raise LookupError(f"the emulator has no resource {key!r}; it has {', '.join(sorted(RESOURCES))}")
        native = self.emulator.state.dump()["records"].get(account.record["id"], {}).get(key, [])
        found = next((one for one in native if one["id"] == str(record_id)), None)
        if found is None:
            return None
        return to_unified(found, resource=RESOURCES[key], integration=account.integration)

    def fault(self, *, customer: str | None = None, **spec: Any) -> Fault:
        """Make later calls fail: `truto.fault(method="PATCH", status=503, times=2)`.

        The keys are those of `emulator.http.faults.Fault`; `customer` is its `account`. Raises `ValueError` for an
        unknown key, and `LookupError` for an unknown customer.
        """
        if customer is not None:
            spec["account"] = self._find_account(customer).record["id"]
        return self.emulator.fault(**spec)

    def run(self, operator: Any, *, params: Mapping[str, Any] | None = None) -> Any:
        """Render and execute a task as a worker would; return its return value, of a mapped one a list of its rows'.

        `params` are what a DAG run is triggered with. What earlier tasks of the same test have pushed can be pulled.
        A deferred task goes on until it ends. Raises what the task raises; after that, the same task is a retry.
        Raises `RuntimeError` where Airflow would take the connection `truto_default` from somewhere else.
        """
        self._refuse_other_connection()
        return self._worker.run(operator, conf=params or {})

    def xcom(self, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
        """Return what a task of this test has pushed last under a key; `None` where it has pushed nothing there."""
        return self._worker.xcoms.get(task_id, key, map_index)

    def _refuse_other_connection(self) -> None:
        """Make sure that no test writes to a real CRM: a secrets backend comes before the environment."""
        from airflow_provider_truto._compat import BaseHook

        if os.environ.get(CONNECTION_VARIABLE) != self.connection:
            return  # the test has set another one itself
        host = BaseHook.get_connection("truto_default").host
        if host != self.url:
            raise RuntimeError(
                f"The connection truto_default leads to {host}, and not to the emulator: Airflow finds it in a"
                " secrets backend, which comes before the environment. Unset [secrets] backend for the tests"
            )

    def _find_account(self, customer: str) -> IntegratedAccount:
        accounts = self.emulator.state.accounts.values()
        for account in accounts:
            if customer in (account.record["id"], account.record["tenant_id"]):
                return account
        known = ", ".join(account.record["tenant_id"] for account in accounts)
        raise LookupError(f"the emulator has no customer {customer!r}; it has {known}")
