"""``TrutoHook`` and ``TrutoAsyncHook``: an Airflow connection turned into calls of Truto.

Both have the methods of ``client.api.TrutoApi`` and of ``AccountUpdates``; those of ``TrutoAsyncHook`` are
coroutines and async iterators.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow_provider_truto import __version__
from airflow_provider_truto._compat import AirflowException, BaseHook, conf, get_async_connection, mask_secret
from airflow_provider_truto.client.core import Function, Observer, P, T
from airflow_provider_truto.client.errors import Problem, TrutoError, TrutoSchemaError
from airflow_provider_truto.client.keys import FindKeys
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.connection_fields import (
    CONNECTION_TYPE,
    DEFAULT_CONN_ID,
    HIDDEN_FIELDS,
    HOOK_NAME,
    PLACEHOLDERS,
    RELABELING,
)
from airflow_provider_truto.hooks._account_updates import AccountUpdates
from airflow_provider_truto.hooks._connection_test import run_connection_test
from airflow_provider_truto.hooks._lineage import collect_write
from airflow_provider_truto.hooks._task_keys import find_task_keys, find_task_keys_async
from airflow_provider_truto.hooks.connection import (
    AirflowConnection,
    ConnectionReading,
    TrutoConnection,
    read_connection,
)

if TYPE_CHECKING:
    # requests takes a tenth of a second to import, and so does aiohttp: DAG files that only name an operator must not
    # pay for them.
    import requests
    from typing_extensions import Self

    from airflow_provider_truto.client.aio import AsyncClient, AsyncListing
    from airflow_provider_truto.client.pages import Pages
    from airflow_provider_truto.client.retry import Result
    from airflow_provider_truto.client.settings import ClientSettings
    from airflow_provider_truto.client.sync import Listing, SyncClient

_LONGEST_TEST_MESSAGE = 2000
#: Airflow 3.0 says of a connection whose extra is not a JSON object that it is not defined.
_UNREADABLE = (
    "Airflow cannot read this connection, or has none of this name. /extra: is not a JSON object, most likely: write"
    ' it as {"name": "value"}.'
)


class _ConnectionHook(BaseHook, AccountUpdates):
    """What both hooks have: an Airflow connection of type ``truto``. Times are in seconds.

    Methods raise ``TrutoError``; a connection that cannot be used is a ``TrutoSchemaError`` that lists every problem.

    :param truto_conn_id: the Airflow connection. The other arguments win over its extras of the same names.
    :param integrated_account_id: the customer who is meant where a call names none.
    :param data_auth: under what data calls go out: ``"api"``, or ``"account"`` for a token of that account alone.
    :param timeout: how long to wait for an answer.
    :param deadline: what one attempt may take in all.
    :param max_attempts: attempts per call, the first one included.
    :param max_wait: what the waits of one call may add up to. A longer one fails the call at once.
    :param requests_per_second: what this process sends at most; 0: no pacing.
    """

    conn_name_attr = "truto_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONNECTION_TYPE
    hook_name = HOOK_NAME

    def __init__(
        self,
        truto_conn_id: str = default_conn_name,
        *,
        integrated_account_id: str | None = None,
        data_auth: str | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        max_attempts: int | None = None,
        max_wait: float | None = None,
        requests_per_second: float | None = None,
    ) -> None:
        super().__init__()
        self.truto_conn_id = truto_conn_id
        self._overrides = {
            "integrated_account_id": integrated_account_id,
            "data_auth": data_auth,
            "timeout": timeout,
            "deadline": deadline,
            "max_attempts": max_attempts,
            "max_wait": max_wait,
            "requests_per_second": requests_per_second,
        }

    def find_keys(self, context: Any) -> FindKeys:
        """Return what makes the keys of writes: the task of ``context``, else random ones.

        Raises ``ValueError`` for a context that is not a task's.

        :param context: the context of a task; ``CURRENT_TASK`` for that of the task that runs, if it is not a sensor;
            ``None`` for no task.
        """
        return find_task_keys(context)

    def _read(self, conn: AirflowConnection, *, is_test: bool = False) -> ConnectionReading:
        from airflow import __version__ as airflow_version

        return read_connection(
            conn,
            conn_id=None if is_test else self.truto_conn_id,  # Airflow makes up an id for a test
            overrides=self._overrides,
            user_agent=f"airflow-provider-truto/{__version__} airflow/{airflow_version}",
            hide_values=conf.getboolean("truto", "hide_values", fallback=False),
            allowed_hosts=conf.get("truto", "allowed_hosts", fallback="") or "",
        )

    def _log_warnings(self, connection: TrutoConnection) -> TrutoConnection:
        if connection.warnings:
            self.log.warning("connection %s: %s", self.truto_conn_id, "; ".join(connection.warnings))
        return connection

    def _log_reread(self) -> None:
        self.log.info("Truto refused the API token: reading connection %s again", self.truto_conn_id)

    def _make_observer(self, on_token: Callable[[str], object]) -> Observer:
        return Observer(
            on_response=self._note_call, on_warning=self.log.warning, on_wait=self.log.info, on_token=on_token
        )

    def _note_call(self, result: Result) -> None:
        self._log_call(result)
        collect_write(self, result.request)

    def _log_call(self, result: Result, level: int = logging.INFO) -> None:
        self.log.log(
            level,
            "%s integrated_account=%s status=%d attempts=%d waited=%.1fs key=%s",
            result.request,
            result.request.integrated_account_id,
            result.response.status,
            result.attempts,
            result.waited + result.paced,
            (result.request.idempotency_key or "")[:12],
        )


class TrutoHook(_ConnectionHook):
    """Calls Truto under an Airflow connection; threads may share one."""

    # Airflow 2.11 to 3.1 look for the next two in the class that the provider info names, and not in its parents.

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields for Airflow 2.11 to 3.1, from the table that later ones read too."""
        from airflow_provider_truto.hooks._connection_widgets import build_form_widgets

        return build_form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how Airflow 2.11 to 3.1 should show its own form fields."""
        return {
            "hidden_fields": list(HIDDEN_FIELDS),
            "relabeling": dict(RELABELING),
            "placeholders": dict(PLACEHOLDERS),
        }

    def get_conn(self) -> requests.Session:
        """Return the pooled session; its token goes to the connection's origin only, ``/paths`` go below it.

        A request ends by the connection's ``deadline``, also where its own ``timeout`` is longer. Raises
        ``TrutoSchemaError`` where the connection allows some integrated accounts only: what a session is asked for
        cannot be held to that.
        """
        if self.connection.settings.allowed_integrated_accounts:
            message = "is set, and a session could call for any customer: use the hook's own methods"
            raise TrutoSchemaError.of("no session", [Problem("/extra/allowed_integrated_accounts", message)])
        return self._client.session

    def do(self, function: Function[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function on the client, and return its result.

        :param function: takes the client, and then the arguments after it.
        :param args: positional arguments of the function.
        :param kwargs: keyword arguments of the function.
        """
        return self._client.do(function, *args, **kwargs)

    def listing(self, function: Function[P, Pages], *args: P.args, **kwargs: P.kwargs) -> Listing:
        """Return an iterator over the records of the pages that a coroutine function opens.

        :param function: takes the client, and then the arguments after it.
        :param args: positional arguments of the function.
        :param kwargs: keyword arguments of the function.
        """
        return self._client.listing(function, *args, **kwargs)

    def test_connection(self) -> tuple[bool, str]:
        """Make one real call; say whether the token works and what the default integrated account is.

        Answers within 15 seconds, also where the server accepts and stays mute. Never shows the token.
        """
        try:
            conn = self.get_connection(self.truto_conn_id)
        except (AirflowException, ValueError):
            return False, _UNREADABLE
        try:
            connection = self._read(conn, is_test=True).get()
        except TrutoError as error:
            return False, str(error)[:_LONGEST_TEST_MESSAGE]
        tokens = ApiToken(connection.token, reread=lambda: connection.token)
        works, message = run_connection_test(connection.settings, partial(self._new_client, tokens=tokens))
        notes = (f"Note: {warning}{'' if warning.endswith('?') else '.'}" for warning in connection.warnings)
        return works, " ".join([message, *notes])[:_LONGEST_TEST_MESSAGE]

    @cached_property
    def connection(self) -> TrutoConnection:
        """The connection as it was read, once per hook."""
        return self._log_warnings(self._read(self.get_connection(self.truto_conn_id)).get())

    @cached_property
    def _client(self) -> SyncClient:
        tokens = ApiToken(self.connection.token, reread=self._reread_token)
        return self._new_client(self.connection.settings, tokens=tokens)

    def _new_client(self, settings: ClientSettings, *, tokens: ApiToken) -> SyncClient:
        from airflow_provider_truto.client.sync import SyncClient

        return SyncClient(settings, tokens, observer=self._make_observer(mask_secret))

    def new_async_client(self, *, connections: int) -> AsyncClient:
        """Make a client on aiohttp of this connection, for many calls in one task. Its calls are logged at DEBUG.

        :param connections: how many connections it may have open at once.
        """
        from airflow_provider_truto.client.aio import AsyncClient

        async def reread() -> Token:
            return await asyncio.get_running_loop().run_in_executor(None, self._reread_token)

        observer = Observer(
            on_response=partial(self._log_call, level=logging.DEBUG),
            on_warning=self.log.debug,
            on_wait=self.log.debug,
            on_token=_mask_in_thread,
        )
        tokens = ApiToken(self.connection.token, reread=reread)
        return AsyncClient(self.connection.settings, tokens, observer=observer, connections=connections)

    def _reread_token(self) -> Token:
        """Read the connection again after a 401: tokens get rotated while tasks run."""
        self._log_reread()
        return self._read(self.get_connection(self.truto_conn_id)).get().token


class TrutoAsyncHook(_ConnectionHook):
    """Calls Truto from coroutines, as in a trigger; use it in one event loop, and ``close`` it at the end.

    ``update_account`` and the others return coroutines here, lists are async iterators.
    """

    def find_keys(self, context: Any) -> FindKeys:
        """Return what makes the keys of writes; see ``TrutoHook``.

        :param context: the context of a task, ``CURRENT_TASK``, or ``None`` for no task.
        """
        return find_task_keys_async(context)

    async def do(self, function: Function[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function on the client, and return its result.

        :param function: takes the client, and then the arguments after it.
        :param args: positional arguments of the function.
        :param kwargs: keyword arguments of the function.
        """
        return await (await self._get_client()).do(function, *args, **kwargs)

    def listing(self, function: Function[P, Pages], *args: P.args, **kwargs: P.kwargs) -> AsyncListing:
        """Return an async iterator over the records of the pages that a coroutine function opens.

        :param function: takes the client, and then the arguments after it.
        :param args: positional arguments of the function.
        :param kwargs: keyword arguments of the function.
        """
        from airflow_provider_truto.client.aio import AsyncListing

        return AsyncListing(partial(self.do, function, *args, **kwargs))

    async def close(self) -> None:
        """Close the pooled connections. The hook may be used again after that."""
        opened, self._opened = self._opened, None
        if opened is not None:
            [client] = await asyncio.gather(opened, return_exceptions=True)
            if not isinstance(client, BaseException):  # nothing was opened
                await client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    _opened: asyncio.Task[AsyncClient] | None = None

    async def _get_client(self) -> AsyncClient:
        if self._opened is None:  # a task, so that coroutines that come at once read the connection once
            self._opened = asyncio.ensure_future(self._new_client())
        opened = self._opened
        try:
            return await asyncio.shield(opened)
        except Exception:
            if self._opened is opened:
                self._opened = None  # it may be fixed by the next time
            raise

    async def _new_client(self) -> AsyncClient:
        from airflow_provider_truto.client.aio import AsyncClient

        connection = self._log_warnings(self._read(await get_async_connection(self.truto_conn_id)).get())
        tokens = ApiToken(connection.token, reread=self._reread_token)
        return AsyncClient(connection.settings, tokens, observer=self._make_observer(_mask_in_thread))

    async def _reread_token(self) -> Token:
        self._log_reread()
        return self._read(await get_async_connection(self.truto_conn_id)).get().token


async def _mask_in_thread(secret: str) -> None:
    """Airflow's masking may speak to its supervisor and wait for it, which an event loop must not."""
    await asyncio.get_running_loop().run_in_executor(None, mask_secret, secret)
