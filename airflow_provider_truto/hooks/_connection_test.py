"""What Airflow's Test button asks of a Truto connection."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_truto.client.accounts import get_integration_name, resolve_account
from airflow_provider_truto.client.endpoints import (
    integrated_account_request,
    integrated_accounts_request,
    own_account_request,
)
from airflow_provider_truto.client.errors import (
    TrutoAuthenticationError,
    TrutoError,
    TrutoNotFoundError,
    TrutoTransportError,
)
from airflow_provider_truto.client.redaction import quote_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_truto.client.settings import ClientSettings
    from airflow_provider_truto.client.sync import SyncClient

#: The test answers within the second number of seconds, whatever the server does.
_CONNECT_TIMEOUT = 5.0
_TIMEOUT = 12.0


def run_connection_test(
    settings: ClientSettings, new_client: Callable[[ClientSettings], SyncClient]
) -> tuple[bool, str]:
    """Make one real call; say whether the token works and what the default integrated account is.

    Answers within 15 seconds, also where the server accepts and stays mute. Never shows the token.
    """
    # What is left behind when the test has answered ends by itself, soon after.
    settings = replace(settings, max_attempts=1, connect_timeout=_CONNECT_TIMEOUT, deadline=_TIMEOUT + 1)
    if settings.read_timeout > _TIMEOUT:
        settings = replace(settings, read_timeout=_TIMEOUT, timeout_name="the limit of this test")
    client = new_client(settings)
    outcome: list[tuple[bool, str]] = []
    # The deadline is for one call and for what happens on its socket. There may be two, and names to be resolved.
    thread = threading.Thread(target=lambda: outcome.append(_ask(client)), name="truto-test-connection", daemon=True)
    thread.start()
    thread.join(_TIMEOUT)
    if not outcome:
        return False, (
            f"{settings.base_url} accepted the connection but gave no answer within {_TIMEOUT:g} s:"
            " check the base URL and the proxy."
        )
    return outcome[0]


def _ask(client: SyncClient) -> tuple[bool, str]:
    try:
        return _test_account(client) if client.settings.integrated_account_id else _test_token(client)
    except TrutoAuthenticationError as error:
        if error.is_foreign:
            return False, str(error)
        # The fix comes first: Airflow shows the message for two seconds.
        return False, (
            f"Truto refused the API token ({error.status}). Fix: put a valid API token (Truto's dashboard,"
            f" API tokens) into this connection. Asked: {client.settings.base_url}."
        )
    except TrutoTransportError as error:
        if "Fix:" in str(error):
            return False, str(error)
        return False, f"{error} Fix: check the base URL, and the proxy of the machine that tests."
    except TrutoError as error:
        return False, str(error)
    finally:
        client.close()


def _test_token(client: SyncClient) -> tuple[bool, str]:
    value = client.run(integrated_accounts_request({"limit": 1})).value
    if not (isinstance(value, dict) and {"result", "results"} & value.keys()):
        return False, f"{client.settings.base_url} answered, but not as Truto does: check the base URL."
    return True, (
        f"The API token works at {client.settings.base_url}. No default integrated account is set:"
        " every task has to name its customer's."
    )


def _test_account(client: SyncClient) -> tuple[bool, str]:
    account_id = resolve_account(client.settings, None)
    by_own_token = client.settings.data_auth == "account"
    request = own_account_request(account_id) if by_own_token else integrated_account_request(account_id)
    try:
        account = client.run(request).value
    except TrutoNotFoundError:
        return False, (
            f"The API token works at {client.settings.base_url}, but it does not see the integrated account"
            f" {account_id}: check the id, and that the token belongs to the account's environment."
        )
    if not isinstance(account, dict) or "status" not in account:
        return False, f"{client.settings.base_url} answered, but not as Truto does: check the base URL."
    token = "The API token, and a token minted for the account, work" if by_own_token else "The API token works"
    seen = (
        f"{token} at {client.settings.base_url}. Integrated account {account_id}:"
        f" {get_integration_name(account) or 'unknown integration'}, tenant {account.get('tenant_id')},"
        f" status {account['status']}"
    )
    if account["status"] != "active":
        reason = f" Last error: {quote_line(account['last_error'], most=300)}." if account.get("last_error") else ""
        return False, f"{seen}. Not ready for calls: the customer must connect or reconnect it.{reason}"
    return True, f"{seen}{' (a sandbox: it can be read, not written)' if account.get('is_sandbox') else ''}."
