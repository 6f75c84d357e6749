"""Waiting until a customer's integrated account can be called."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_truto._compat import NOTSET, ArgNotSet, conf
from airflow_provider_truto.client.account_state import FORBIDDEN, look_at_account
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.connection_fields import DEFAULT_CONN_ID
from airflow_provider_truto.operators._signature import defer_required_check
from airflow_provider_truto.sensors._sensor import TrutoSensor
from airflow_provider_truto.triggers.integrated_accounts import TrutoIntegratedAccountTrigger, log_state

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoHook


class TrutoIntegratedAccountSensor(TrutoSensor):
    """Wait until a customer's integrated account is active and not blocked.

    A customer may not have connected yet, or must reconnect: the sensor waits for them to do it, up to ``timeout``,
    unless ``fail_on`` says otherwise. Any status but ``active`` is waited for, also one that nobody knows.

    Target: whose account.

    :param integrated_account_id: the customer's integrated account (a UUID); left out, the connection's default. One
        that is given and renders to nothing is an error. (templated)
    :param tenant_id: names the customer instead, by your own id for them, who may not have connected yet.
        (templated)
    :param integration: with ``tenant_id``, which of the customer's accounts: ``"hubspot"``. (templated)
    :param truto_conn_id: the Airflow connection. (templated)

    Safeguards: what counts as ready, and how it waits.

    :param probe: also list one record of the customer's CRM, since an account that is not of OAuth stays active until
        a call is refused: ``True``, or the resource to list, such as ``"crm/contacts"``, or ``"companies"`` as the
        CRM itself calls it. (templated)
    :param fail_on: what fails the task at once instead of being waited for, a list of statuses (``needs_reauth``,
        ``connecting``, ``post_install_error``, ``validation_error``, ``paused``, ``expired``, ``inactive``) and of
        ``blocked``, ``missing`` (the tenant has no such account), ``forbidden`` (the ``probe`` was not allowed).
        Nothing, by default. (templated)
    :param deferrable: wait in the triggerer. The default is ``[operators] default_deferrable``.
    :param max_failed_polls: how many looks in a row may fail, as in an outage, before the task does. (templated)

    ``poke_interval``, ``timeout`` (seconds or a timedelta), ``mode`` and ``soft_fail`` are Airflow's own.

    XCom: ``return_value`` is ``{"integrated_account_id", "tenant_id", "integration", "status"}``. The id is there by
    itself as well, so that a later task may take ``sensor.output["integrated_account_id"]``.
    """

    integrated_account_id: Any
    tenant_id: Any
    integration: Any
    probe: Any
    fail_on: Any

    @defer_required_check
    def __init__(
        self,
        *,
        integrated_account_id: str | ArgNotSet = NOTSET,
        tenant_id: str | ArgNotSet = NOTSET,
        integration: str | ArgNotSet = NOTSET,
        truto_conn_id: str = DEFAULT_CONN_ID,
        probe: bool | str = False,
        fail_on: Collection[str] | str = (),
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        max_failed_polls: int | str = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._take(locals())

    def _find_contradictions(self, given: Mapping[str, Any], present: Collection[str]) -> Iterator[Problem]:
        yield from super()._find_contradictions(given, present)
        if given.get("probe") is False and FORBIDDEN in (given.get("fail_on") or ()):
            yield from self._find_meaningless(["fail_on"], f"{FORBIDDEN} is seen by a probe only: set probe=True")

    def look(self, hook: TrutoHook) -> Any:
        """Look at the account once. Raises the ``TrutoError`` of what ``fail_on`` names."""
        state = hook.do(look_at_account, **self._customer, probe=self.probe)
        log_state(self.log, state)
        if state.obstacle is None:
            return state.subject
        if state.obstacle in self.fail_on:
            raise state.build_error(f"fail_on names {state.obstacle}")
        return None

    def finish(self, context: Any, found: Any) -> Any:
        """Also push the id by itself, so that a later task may take it from this one's ``output``."""
        if self.do_xcom_push and (ti := context.get("ti")):
            ti.xcom_push(key="integrated_account_id", value=found["integrated_account_id"])
        return found

    def make_trigger(self, **waiting: Any) -> TrutoIntegratedAccountTrigger:
        """Make the trigger that waits for the account."""
        return TrutoIntegratedAccountTrigger(**self._customer, probe=self.probe, fail_on=self.fail_on, **waiting)

    @property
    def _customer(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("integrated_account_id", "tenant_id", "integration")}
