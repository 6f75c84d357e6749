"""Waiting until a customer's integrated account can be called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.client.account_state import AccountState, look_at_account
from airflow_provider_truto.triggers.base import PollingTrigger

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoAsyncHook


class TrutoIntegratedAccountTrigger(PollingTrigger):
    """Waits until an integrated account is active and not blocked, or has an obstacle that is not waited for.

    :param integrated_account_id: the account; without it and without a tenant, the connection's default.
    :param tenant_id: names the customer instead, who may not have connected yet.
    :param integration: with ``tenant_id``, which of the customer's accounts.
    :param probe: also make a call: ``True``, or the resource to list.
    :param fail_on: the obstacles that end the wait.
    :param truto_conn_id: the Airflow connection, which the triggerer reads.
    :param poll_interval: seconds between two polls.
    :param deadline: when to give up, in seconds since 1970 (UTC); there is one more look then.
    :param max_failed_polls: how many polls in a row may fail before the task is told.
    """

    def __init__(
        self,
        *,
        integrated_account_id: str | None = None,
        tenant_id: str | None = None,
        integration: str | None = None,
        probe: bool | str = False,
        fail_on: Sequence[str] = (),
        truto_conn_id: str,
        poll_interval: float,
        deadline: float,
        max_failed_polls: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            truto_conn_id=truto_conn_id,
            poll_interval=poll_interval,
            deadline=deadline,
            max_failed_polls=max_failed_polls,
            **kwargs,
        )
        self.integrated_account_id = integrated_account_id
        self.tenant_id = tenant_id
        self.integration = integration
        self.probe = probe
        self.fail_on = list(fail_on)
        self._told: AccountState | None = None

    @property
    def subject(self) -> Mapping[str, Any]:
        """The account, and when the wait for it is over."""
        names = ("integrated_account_id", "tenant_id", "integration", "probe", "fail_on")
        return {name: getattr(self, name) for name in names}

    async def poll(self, hook: TrutoAsyncHook) -> bool:
        """Look at the account once."""
        state = await hook.do(
            look_at_account,
            integrated_account_id=self.integrated_account_id,
            tenant_id=self.tenant_id,
            integration=self.integration,
            probe=self.probe,
        )
        if state != self._told:
            self._told = state
            log_state(self.log, state)
        return state.obstacle is None or state.obstacle in self.fail_on


def log_state(log: Any, state: AccountState) -> None:
    """Log what was seen of an account; warn of what only the customer or Truto can change."""
    if state.obstacle is None:
        log.info("Integrated account %s is active", state.integrated_account_id)
    else:
        log.warning("Waiting, since %s", state.explanation)
    if state.scope_gap:
        log.warning("Integrated account %s lacks rights: %s", state.integrated_account_id, state.scope_gap)
