"""All that an emulator knows and remembers, in memory.

The server's event loop is the only writer while calls are served. From other threads everything here may be read,
and the methods may be called: each makes its change in one step. Reset between calls, not during one.
"""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from airflow_provider_truto.emulator import timestamps
from airflow_provider_truto.emulator.accounts import IntegratedAccount, Integration
from airflow_provider_truto.emulator.call import Call, Execution, Token
from airflow_provider_truto.emulator.crm import Crm
from airflow_provider_truto.emulator.faults import Fault, read_fault
from airflow_provider_truto.emulator.limits import Limits
from airflow_provider_truto.emulator.replays import Replays
from airflow_provider_truto.emulator.resources import RESOURCES, Resource
from airflow_provider_truto.emulator.seed import SeedSource, load_seed, merged_limits, to_native

_KEPT_CALLS = 100_000  # the newest ones; a long benchmark must fit into memory


class State:
    """The seed and what has happened since.

    `rate_limits` turns the limits on; a mapping also changes them, in the form of the seed's `limits`.
    With `cache_refusals`, an `Idempotency-Key` also remembers answers of calls that were never executed.
    Raises SeedError.
    """

    def __init__(
        self, seed: SeedSource = None, *, rate_limits: bool | Mapping[str, Any] = False, cache_refusals: bool = False
    ) -> None:
        self._seed = load_seed(seed)
        if isinstance(rate_limits, Mapping):
            self._seed["limits"] = merged_limits(rate_limits, base=self._seed["limits"])
        self._rate_limits = rate_limits is not False
        self.cache_refusals = cache_refusals
        self.reset()

    def reset(self) -> None:
        """Back to the seed: no calls, no faults, no remembered answers."""
        seed = copy.deepcopy(self._seed)
        self.requests: deque[Call] = deque(maxlen=_KEPT_CALLS)
        self.executions: deque[Execution] = deque(maxlen=_KEPT_CALLS)
        self.faults: list[Fault] = []
        self.replays = Replays()
        self.limits = Limits(seed["limits"], enforced=self._rate_limits)
        self._token_numbers = itertools.count()
        self._tokens: dict[str, Token] = {}
        for token in seed["tokens"]:
            self.add_token(**token)
        self.integrations = {
            name: Integration(name=name, **options) for name, options in seed["integrations"].items()
        }
        self.accounts = {
            account["id"]: IntegratedAccount.seeded(account, self.integrations[account["integration"]])
            for account in seed["integrated_accounts"]
        }
        self.records: dict[str, dict[str, dict[str, Any]]] = {
            account_id: {
                key: {record["id"]: to_native(record, RESOURCES[key]) for record in records}
                for key, records in by_resource.items()
            }
            for account_id, by_resource in seed["records"].items()
        }

    def crm(self, account: IntegratedAccount, resource: Resource) -> Crm:
        """The part of a customer's CRM that holds one resource."""
        records = self.records.setdefault(account.record["id"], {}).setdefault(resource.key, {})
        return Crm(resource=resource, integration=account.integration, records=records)

    @property
    def first_token(self) -> str:
        """The first API token of the seed."""
        token: str = self._seed["tokens"][0]["token"]
        return token

    def add_token(self, token: str, expires_at: str | None = None) -> None:
        """Accept this API token from now on; `expires_at` is an ISO 8601 time. Raises ValueError."""
        expiry = None if expires_at is None else timestamps.read(expires_at)
        self._tokens[token] = Token(number=next(self._token_numbers), expires_at=expiry)

    def revoke_token(self, token: str) -> bool:
        """Accept this API token no longer; False where it was unknown."""
        return self._tokens.pop(token, None) is not None

    def token(self, authorization: str | None) -> Token | None:
        """The valid token of an `Authorization` header, or None."""
        scheme, _, text = (authorization or "").partition(" ")
        token = self._tokens.get(text.strip()) if scheme.lower() == "bearer" else None
        if token and token.expires_at and token.expires_at <= datetime.now(timezone.utc):
            return None
        return token

    def add_fault(self, spec: Mapping[str, Any]) -> Fault:
        """Play this fault after those that are already there. Raises ValueError."""
        fault = read_fault(spec)
        self.faults.append(fault)
        return fault

    def fault_for(self, call: Call) -> Fault | None:
        """The fault that fires on this call, counted."""
        return next((fault for fault in self.faults if fault.hits(call)), None)

    def clear_faults(self) -> None:
        """No faults any more, those of calls under way excepted."""
        self.faults = []

    def request_log(self) -> list[dict[str, Any]]:
        """Every call that arrived at the API, oldest first."""
        return [call.entry() for call in self.requests.copy()]

    def execution_log(self) -> list[dict[str, Any]]:
        """Every call that reached a CRM, oldest first."""
        return [execution.entry() for execution in self.executions.copy()]

    def shown(self) -> dict[str, Any]:
        """What is there now: the accounts as the API shows them, the records as their CRMs store them."""
        return {
            "integrated_accounts": [account.record for account in self.accounts.values()],
            "records": {
                account_id: {key: list(records.values()) for key, records in by_resource.items()}
                for account_id, by_resource in self.records.items()
            },
        }
