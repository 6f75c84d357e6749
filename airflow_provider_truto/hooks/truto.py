"""``TrutoHook``: an Airflow connection turned into calls of Truto."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_truto import __version__
from airflow_provider_truto._compat import BaseHook, conf
from airflow_provider_truto.client.call import Call, path_of, query_pairs
from airflow_provider_truto.client.errors import (
    Problem,
    TrutoAuthenticationError,
    TrutoError,
    TrutoNotFoundError,
    TrutoTransportError,
)
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.connection_fields import (
    CONNECTION_TYPE,
    EXTRA_FIELDS,
    HIDDEN_FIELDS,
    HOOK_NAME,
    PLACEHOLDERS,
    RELABELING,
)
from airflow_provider_truto.hooks.connection import TrutoConnection, read_connection
from airflow_provider_truto.updates.answered import answered
from airflow_provider_truto.updates.called import called
from airflow_provider_truto.updates.checked import PACKAGED, AccountUpdate, SchemaSource, checked
from airflow_provider_truto.updates.keys import TaskIdentity

if TYPE_CHECKING:
    # requests takes a tenth of a second to import: DAG files that only name an operator must not pay for it.
    import requests

    from airflow_provider_truto.client.exchange import Outcome
    from airflow_provider_truto.client.settings import ClientSettings
    from airflow_provider_truto.client.sync import Chunks, SuffixStore, SyncClient

#: The connection test answers within the second number of seconds, whatever the server does.
_TEST_CONNECT_TIMEOUT = 5.0
_TEST_TIMEOUT = 12.0
_LONGEST_TEST_MESSAGE = 2000


@dataclass(frozen=True, kw_only=True)
class Updated:
    """A done update: the JSON answer (``None`` for a stream) and what it took."""

    update: AccountUpdate
    response: Any
    outcome: Outcome


class TrutoHook(BaseHook):
    """Calls Truto under an Airflow connection of type ``truto``.

    Arguments win over the connection's extras of the same names; times are in seconds. Methods raise
    ``TrutoError``s; a connection that cannot be used is a ``TrutoSchemaError`` that lists every problem.
    """

    conn_name_attr = "truto_conn_id"
    default_conn_name = "truto_default"
    conn_type = CONNECTION_TYPE
    hook_name = HOOK_NAME

    def __init__(
        self,
        truto_conn_id: str = default_conn_name,
        *,
        integrated_account_id: str | None = None,
        timeout: float | None = None,
        max_attempts: int | None = None,
        max_wait: float | None = None,
    ) -> None:
        super().__init__()
        self.truto_conn_id = truto_conn_id
        self._overrides = {
            "integrated_account_id": integrated_account_id,
            "timeout": timeout,
            "max_attempts": max_attempts,
            "max_wait": max_wait,
        }

    def get_conn(self) -> requests.Session:
        """Give the pooled session; its token goes to the connection's origin only, ``/paths`` go below it."""
        return self._client.session

    def update_account(
        self,
        account_id: str,
        body: Mapping[str, Any],
        *,
        integrated_account_id: str | None = None,
        response_format: str = "unified",
        ignore_remote_data: bool = True,
        exclude_fields: Sequence[str] | None = None,
        remote_query: Mapping[str, Any] | None = None,
        schema: SchemaSource = PACKAGED,
        extra_fields: Sequence[str] | None = None,
        allow_null: bool | Collection[str] = False,
        allow_empty: bool = False,
        idempotency_key: str | None = None,
    ) -> Any:
        """Update one account of one customer's CRM: ``PATCH /unified/crm/accounts/{account_id}``.

        Strict: nothing is rendered or converted. Returns the JSON answer, ``{}`` for an empty one.
        ``allow_null`` is true, or the JSON pointers at which null is meant; ``schema`` is a JSON Schema, the
        path of one, or ``None`` to check no body. Without ``idempotency_key`` the key is random: two calls are
        two writes. For ``response_format="stream"`` see ``stream_account``.

        Source: Truto's docs/api-reference/unified-crm-api/accounts/update.
        """
        if response_format == "stream":
            raise ValueError("response_format='stream' has no JSON answer: call stream_account")
        update = AccountUpdate(
            account_id=account_id,
            body=body,
            integrated_account_id=integrated_account_id,
            response_format=response_format,
            ignore_remote_data=ignore_remote_data,
            exclude_fields=exclude_fields,
            remote_query=remote_query,
            schema=schema,
            extra_fields=extra_fields,
            allow_null=allow_null,
            allow_empty=allow_empty,
            idempotency_key=idempotency_key,
        )
        return self.run_update(update).response

    def stream_account(self, account_id: str, body: Mapping[str, Any], **arguments: Any) -> Chunks:
        """Update an account and give the CRM's answer as an iterable of bytes, never held in memory.

        Takes ``update_account``'s arguments but for ``response_format``. The write has happened when this
        returns; iterating only reads, and raises ``TrutoTransportError`` where the answer breaks off.
        """
        update = AccountUpdate(
            account_id=account_id,
            body=body,
            response_format="stream",
            **{"integrated_account_id": None, **arguments},
        )
        chunks: Chunks = self.run_update(update).outcome.answer.stream
        return chunks

    def run_update(
        self,
        update: AccountUpdate,
        *,
        earlier: Sequence[Problem] = (),
        task: TaskIdentity | None = None,
        suffixes: SuffixStore | None = None,
    ) -> Updated:
        """Check, send and read one update; what the operator calls.

        ``earlier`` are problems found before, reported with those found here; ``task`` makes the idempotency
        key; ``suffixes`` keeps the number that follows it over a task's tries.
        """
        if update.integrated_account_id is None:
            update = replace(update, integrated_account_id=self.connection.integrated_account_id)
        hide_values = self.connection.settings.hide_values
        admitted = checked(update, earlier=earlier, hide_values=hide_values)
        self._warn(f"account {update.account_id}", admitted.warnings)
        outcome = self._run(called(admitted, task=task), suffixes)
        response, warnings = answered(update, outcome.value) if outcome.value is not None else (None, ())
        self._warn(f"the answer for account {update.account_id}", warnings)
        return Updated(update=update, response=response, outcome=outcome)

    def test_connection(self) -> tuple[bool, str]:
        """Make one real call; say whether the token works and what the default integrated account is.

        Answers within 15 seconds, also where the server accepts and stays mute. Never shows the token.
        """
        try:
            connection = self.connection
        except TrutoError as error:
            return False, str(error)[:_LONGEST_TEST_MESSAGE]
        settings = replace(
            connection.settings,
            max_attempts=1,
            connect_timeout=_TEST_CONNECT_TIMEOUT,
            read_timeout=min(connection.settings.read_timeout, _TEST_TIMEOUT),
        )
        client = self._new_client(settings)
        answer: list[tuple[bool, str]] = []
        # The socket's timeouts bound each step, not their sum: a server that drips bytes would outlast them.
        thread = threading.Thread(
            target=lambda: answer.append(_tested(client, connection)), name="truto-test-connection", daemon=True
        )
        thread.start()
        thread.join(_TEST_TIMEOUT)
        if not answer:
            return False, (
                f"{settings.base_url} accepted the connection but gave no answer within {_TEST_TIMEOUT:g} s:"
                " check the base URL and the proxy."
            )
        works, message = answer[0]
        return works, " ".join([message, *(f"Note: {warning}." for warning in connection.warnings)])[
            :_LONGEST_TEST_MESSAGE
        ]

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Give the form's extra fields to Airflow 2.11 to 3.1, from the table that later ones read too."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import BooleanField, IntegerField, StringField
        from wtforms.validators import NumberRange, Optional

        # Airflow 2.11 refuses a hook with any other class of field; the connection reads text strictly.
        kinds = {"string": StringField, "integer": IntegerField, "number": StringField, "boolean": BooleanField}
        widgets = {}
        for field in EXTRA_FIELDS:
            options: dict[str, Any] = {"description": field.description, "default": field.default}
            if field.type != "boolean":
                options["widget"] = BS3TextFieldWidget()
                options["validators"] = [Optional()]
            if field.type == "integer":
                options["validators"].append(NumberRange(min=field.minimum))
            widgets[field.name] = kinds[field.type](lazy_gettext(field.label), **options)
        return widgets

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Say to Airflow 2.11 to 3.1 what its own form fields are to look like."""
        return {
            "hidden_fields": list(HIDDEN_FIELDS),
            "relabeling": dict(RELABELING),
            "placeholders": dict(PLACEHOLDERS),
        }

    @cached_property
    def connection(self) -> TrutoConnection:
        """The connection as it was read, once a hook."""
        connection = self._read_connection()
        self._warn(f"connection {self.truto_conn_id}", connection.warnings)
        return connection

    @cached_property
    def _client(self) -> SyncClient:
        return self._new_client(self.connection.settings)

    def _new_client(self, settings: ClientSettings) -> SyncClient:
        from airflow_provider_truto.client.sync import SyncClient

        return SyncClient(settings, ApiToken(self.connection.token, reread=self._reread_token))

    def _read_connection(self) -> TrutoConnection:
        from airflow import __version__ as airflow_version

        hosts = conf.get("truto", "allowed_hosts", fallback="") or ""
        return read_connection(
            self.get_connection(self.truto_conn_id),
            conn_id=self.truto_conn_id,
            overrides=self._overrides,
            user_agent=f"airflow-provider-truto/{__version__} airflow/{airflow_version}",
            hide_values=conf.getboolean("truto", "hide_values", fallback=False),
            allowed_hosts=frozenset(host.strip().lower() for host in hosts.split(",") if host.strip()),
        )

    def _reread_token(self) -> Token:
        """Read the connection again after a 401: tokens get rotated while tasks run."""
        self.log.info("Truto refused the API token: reading connection %s again", self.truto_conn_id)
        return self._read_connection().token

    def _run(self, call: Call, suffixes: SuffixStore | None = None) -> Outcome:
        outcome = self._client.run(call, suffixes=suffixes)
        self.log.info(
            "%s integrated_account=%s status=%d attempts=%d waited=%.1fs key=%s",
            call,
            call.integrated_account_id,
            outcome.answer.status,
            outcome.attempts,
            outcome.waited,
            (outcome.call.idempotency_key or "")[:12],
        )
        return outcome

    def _warn(self, what: str, warnings: Sequence[str]) -> None:
        if warnings:
            self.log.warning("%s: %s", what, "; ".join(warnings))


def _tested(client: SyncClient, connection: TrutoConnection) -> tuple[bool, str]:
    try:
        return _account_test(client, connection) if connection.integrated_account_id else _token_test(client)
    except TrutoAuthenticationError as error:
        # What to do comes first: Airflow shows the message for two seconds.
        return False, (
            f"Truto refused the API token ({error.status}). What to do: put a valid API token (Truto's dashboard,"
            f" API tokens) into this connection. Asked: {client.settings.base_url}."
        )
    except TrutoTransportError as error:
        return False, f"{error} What to do: check the base URL, and the proxy of the machine that tests."
    except TrutoError as error:
        return False, str(error)
    finally:
        client.close()


def _token_test(client: SyncClient) -> tuple[bool, str]:
    call = Call(method="GET", path=path_of("integrated-account"), query=query_pairs({"limit": 1}))
    value = client.run(call).value
    if not (isinstance(value, dict) and {"result", "results"} & value.keys()):
        return False, f"{client.settings.base_url} answered, but not as Truto does: check the base URL."
    return True, (
        f"The API token works at {client.settings.base_url}. No default integrated account is set:"
        " every task has to name its customer's."
    )


def _account_test(client: SyncClient, connection: TrutoConnection) -> tuple[bool, str]:
    account_id = connection.integrated_account_id or ""
    try:
        account = client.run(Call(method="GET", path=path_of("integrated-account", account_id))).value
    except TrutoNotFoundError:
        return False, (
            f"The API token works at {client.settings.base_url}, but it does not see the integrated account"
            f" {account_id}: check the id, and that the token belongs to the account's environment."
        )
    if not isinstance(account, dict) or "status" not in account:
        return False, f"{client.settings.base_url} answered, but not as Truto does: check the base URL."
    integration = account.get("integration")
    name = integration.get("name") if isinstance(integration, dict) else None
    seen = (
        f"The API token works at {client.settings.base_url}. Integrated account {account_id}:"
        f" {name or 'unknown integration'}, tenant {account.get('tenant_id')}, status {account['status']}"
    )
    if account["status"] != "active":
        reason = f" Last error: {str(account['last_error'])[:300]}." if account.get("last_error") else ""
        return False, f"{seen}. Not ready for calls: the customer must connect or reconnect it.{reason}"
    return True, f"{seen}{' (a sandbox: it can be read, not written)' if account.get('is_sandbox') else ''}."
