"""The methods of one resource, for one customer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_truto.client.api_base import ApiBase
from airflow_provider_truto.client.endpoints import names_record
from airflow_provider_truto.client.keys import CURRENT_TASK
from airflow_provider_truto.client.names import find_other_account
from airflow_provider_truto.client.operations import fetch_account_value, open_account_pages
from airflow_provider_truto.client.request import Request, encode_query


class Resource:
    """One resource of one customer: list, get, create, update, delete, and ``call`` for custom methods.

    ``idempotency_key`` and ``context`` say which key a write carries; see ``TrutoApi``.
    """

    def __init__(self, api: ApiBase, build: Callable[..., Request], integrated_account_id: str | None) -> None:
        self._api = api
        self._build = build
        self._account = integrated_account_id

    def list(self, **query: Any) -> Any:
        """Iterate over the records of all pages, fetched as they are needed.

        :param query: Truto's filters and parameters. ``limit`` is the size of a page that Truto is asked for, not of
            the list; ``next_cursor`` resumes a list.
        """
        pairs = encode_query(query)  # now, so that later changes of the caller's dicts change nothing

        def build(account: str) -> Request:
            return self._build("list", integrated_account_id=account, query=pairs)

        return self._api.listing(open_account_pages, self._account, build)

    def get(self, record_id: str, *, query: Mapping[str, Any] | None = None, stream: bool = False) -> Any:
        """Return one record.

        :param record_id: the record's id in the customer's CRM.
        :param query: query parameters beside the customer.
        :param stream: return the CRM's bytes as an iterable.
        """
        return self._run("get", None, record_id=record_id, query=query, streamed=stream)

    def create(
        self,
        body: Any,
        *,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        context: Any = CURRENT_TASK,
        stream: bool = False,
    ) -> Any:
        """Create a record, and return it.

        :param body: the record, JSON-plain.
        :param query: query parameters beside the customer.
        :param idempotency_key: Truto executes a key once. Without it the key is the task's, see ``context``.
        :param context: the context of the task whose key the call takes; left out, that of the task that runs.
            Without a task, and for ``None``, the key is random.
        :param stream: return the CRM's bytes as an iterable.
        """
        given = {"body": body, "query": query, "idempotency_key": idempotency_key, "streamed": stream}
        return self._run("create", context, **given)

    def update(
        self,
        record_id: str | None,
        body: Any,
        *,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        context: Any = CURRENT_TASK,
        stream: bool = False,
    ) -> Any:
        """Change the given fields of a record, and return it.

        :param record_id: the record's id; ``None`` where the integration takes it in the body, as ``id``.
        :param body: the fields to change, JSON-plain.
        :param query: query parameters beside the customer.
        :param idempotency_key: Truto executes a key once. Without it the key is the task's, see ``context``.
        :param context: the context of the task whose key the call takes; left out, that of the task that runs.
            Without a task, and for ``None``, the key is random.
        :param stream: return the CRM's bytes as an iterable.
        """
        _check_target(record_id, body)
        given = {"body": body, "query": query, "idempotency_key": idempotency_key, "streamed": stream}
        return self._run("update", context, record_id=record_id, **given)

    def delete(
        self,
        record_id: str | None,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        context: Any = CURRENT_TASK,
    ) -> Any:
        """Delete a record; return ``{"id"}``.

        :param record_id: the record's id; ``None`` where the integration takes it in the body, as ``id``.
        :param body: what the integration wants to be told, JSON-plain; ``None`` sends no body.
        :param query: query parameters beside the customer.
        :param idempotency_key: Truto executes a key once. Without it the key is the task's, see ``context``.
        :param context: the context of the task whose key the call takes; left out, that of the task that runs.
            Without a task, and for ``None``, the key is random.
        """
        _check_target(record_id, body)
        given = {"body": body, "query": query, "idempotency_key": idempotency_key}
        return self._run("delete", context, record_id=record_id, **given)

    def call(
        self,
        method: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        context: Any = CURRENT_TASK,
        stream: bool = False,
    ) -> Any:
        """Call a custom method of the resource: ``POST …/{method}``.

        :param method: the custom method's name.
        :param body: what the method takes, JSON-plain; ``None`` sends no body.
        :param query: query parameters beside the customer.
        :param idempotency_key: Truto executes a key once. Without it the key is the task's, see ``context``.
        :param context: the context of the task whose key the call takes; left out, that of the task that runs.
            Without a task, and for ``None``, the key is random.
        :param stream: return the CRM's bytes as an iterable.
        """
        given = {"body": body, "query": query, "idempotency_key": idempotency_key, "streamed": stream}
        return self._run(method, context, **given)

    def _run(self, method: str, context: Any, **given: Any) -> Any:
        body = given.get("body")
        if other := find_other_account(body if isinstance(body, Mapping) else ()):
            raise ValueError(f"a body names no customer ({other!r}): that is the argument integrated_account_id")

        def build(account: str) -> Request:
            return self._build(method, integrated_account_id=account, **given)

        build("")  # what is wrong is said here, not while it runs
        return self._api.do(fetch_account_value, self._account, build, self._api.find_keys(context))


def _check_target(record_id: str | None, body: Any) -> None:
    """Refuse a call that names no record: it would go to the whole collection."""
    if record_id is None and not names_record(body):
        raise ValueError("the record's id is missing: give it, or a body with the id of the record")
