"""All that an emulator knows and remembers, in memory.

The server's event loop is the only writer while calls are served. From other threads everything here may be read,
and the methods may be called: each makes its change in one step. Reset between calls, not during one.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.emulator.http.faults import Fault, read_fault
from airflow_provider_truto.emulator.http.limits import Limits
from airflow_provider_truto.emulator.http.replays import Replays
from airflow_provider_truto.emulator.http.request import Request, Token
from airflow_provider_truto.emulator.state.accounts import IntegratedAccount, Integration
from airflow_provider_truto.emulator.state.changes import Change, read_change
from airflow_provider_truto.emulator.state.executions import Execution
from airflow_provider_truto.emulator.state.logs import Entries, build_seeded_entries
from airflow_provider_truto.emulator.state.records import Crm
from airflow_provider_truto.emulator.state.resource import Resource
from airflow_provider_truto.emulator.state.resources import RESOURCES
from airflow_provider_truto.emulator.state.seed import SeedSource, load_seed, merge_limits, to_native
from airflow_provider_truto.emulator.state.tokens import DEFAULT_LIFE, Tokens

if TYPE_CHECKING:
    from airflow_provider_truto.emulator.state.sync_runs import SyncRun

_KEPT_CALLS = 100_000  # the newest ones; a long benchmark must fit into memory


class State:
    """The seed and what has happened since.

    `rate_limits` turns the limits on; a mapping also changes them, in the form of the seed's `limits`.
    With `cache_refusals`, an `Idempotency-Key` also remembers answers of calls that were never executed.
    `account_token_life` is for how many seconds a token of an integrated account is good; it may be set at any time,
    and holds for those minted from then on. Raises SeedError.
    """

    def __init__(
        self,
        seed: SeedSource = None,
        *,
        rate_limits: bool | Mapping[str, Any] = False,
        cache_refusals: bool = False,
        account_token_life: float = DEFAULT_LIFE,
    ) -> None:
        self._seed = load_seed(seed)
        if isinstance(rate_limits, Mapping):
            self._seed["limits"] = merge_limits(rate_limits, base=self._seed["limits"])
        self._rate_limits = rate_limits is not False
        self.cache_refusals = cache_refusals
        self._account_token_life = account_token_life
        self.reset()

    def reset(self) -> None:
        """Go back to the seed: no calls, no faults, no changes to come, no remembered answers."""
        seed = copy.deepcopy(self._seed)
        self.requests: deque[Request] = deque(maxlen=_KEPT_CALLS)
        self.executions: deque[Execution] = deque(maxlen=_KEPT_CALLS)
        self.faults: list[Fault] = []
        self.changes: list[Change] = []
        self.replays = Replays()
        self.limits = Limits(seed["limits"], enforced=self._rate_limits)
        self.account_token_life = self._account_token_life
        self.tokens = Tokens(seed["tokens"])
        self.logs: Entries = deque(build_seeded_entries(seed["logs"]), maxlen=_KEPT_CALLS)
        self.sync_runs: dict[str, SyncRun] = {}
        self.integrations = {
            name: Integration(name=name, **options) for name, options in seed["integrations"].items()
        }
        self.accounts = {
            account["id"]: IntegratedAccount.from_seed(account, self.integrations[account["integration"]])
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
        """Return the part of a customer's CRM that holds one resource, for one call."""
        account_id = account.record["id"]
        self.apply_changes()
        for change in self.changes:
            if (change.account_id, change.resource) == (account_id, resource.key):
                change.calls -= 1
        records = self.records.setdefault(account_id, {}).setdefault(resource.key, {})
        return Crm(resource=resource, integration=account.integration, records=records)

    def add_change(self, spec: Mapping[str, Any]) -> None:
        """Have a record change after a while. Raises ValueError."""
        change = read_change(spec)
        if change.account_id not in self.accounts:
            raise ValueError(f"there is no integrated account {change.account_id!r}")
        self.changes.append(change)

    def apply_changes(self) -> None:
        """Make the changes of records whose time has come."""
        for change in [one for one in self.changes if one.is_due()]:
            self.changes.remove(change)
            change.apply(self.records.setdefault(change.account_id, {}).setdefault(change.resource, {}))

    @property
    def first_token(self) -> str:
        """The first API token of the seed."""
        token: str = self._seed["tokens"][0]["token"]
        return token

    def add_token(self, token: str, expires_at: str | None = None) -> None:
        """Accept this API token from now on; `expires_at` is an ISO 8601 time. Raises ValueError."""
        self.tokens.add(token, expires_at=expires_at)

    def revoke_token(self, token: str) -> bool:
        """No longer accept this token; False where it was unknown."""
        return self.tokens.revoke(token)

    def revoke_account_tokens(self) -> None:
        """No longer accept any token of an integrated account that was minted so far."""
        self.tokens.revoke_minted()

    def mint(self, account_id: str, *, minted_with: Token) -> str:
        """Return a new token of one integrated account."""
        return self.tokens.mint(account_id, minted_with=minted_with, life=self.account_token_life)

    def add_fault(self, spec: Mapping[str, Any]) -> Fault:
        """Play this fault after those that are already there. Raises ValueError."""
        fault = read_fault(spec)
        self.faults.append(fault)
        return fault

    def find_fault(self, request: Request) -> Fault | None:
        """Return the fault that fires on this call, counted."""
        return next((fault for fault in self.faults if fault.fires_on(request)), None)

    def clear_faults(self) -> None:
        """Forget all faults, except those of calls that are under way."""
        self.faults = []

    def list_requests(self) -> list[dict[str, Any]]:
        """Return every call that arrived at the API, oldest first."""
        return [request.to_entry() for request in self.requests.copy()]

    def list_executions(self) -> list[dict[str, Any]]:
        """Return every call that reached a CRM, oldest first."""
        return [execution.to_entry() for execution in self.executions.copy()]

    def list_mints(self) -> list[dict[str, Any]]:
        """Return every token of an integrated account that was minted, oldest first, without the token."""
        return [dict(mint) for mint in self.tokens.mints]

    def list_sync_runs(self) -> list[dict[str, Any]]:
        """Return every sync job run that was started, oldest first, those that are gone included."""
        return [run.to_entry() for run in self.sync_runs.copy().values()]

    def dump(self) -> dict[str, Any]:
        """Return what is there now: the accounts as the API shows them, the records as their CRMs store them."""
        self.apply_changes()
        return {
            "integrated_accounts": [account.record for account in self.accounts.values()],
            "records": {
                account_id: {key: list(records.values()) for key, records in by_resource.items()}
                for account_id, by_resource in self.records.items()
            },
        }
