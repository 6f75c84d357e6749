"""Everything that Truto offers, as methods; written once for requests and for aiohttp.

A subclass says how a coroutine is run: the client and hook on requests return its result, those on aiohttp return
the coroutine, and async iterators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from airflow_provider_truto.client.accounts import find_account
from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.endpoints import (
    admin_request,
    capabilities_request,
    custom_request,
    integrated_account_request,
    integrated_accounts_request,
    logs_request,
    meta_request,
    model_docs_request,
    proxy_request,
    refresh_request,
    tools_request,
    unified_request,
)
from airflow_provider_truto.client.keys import CURRENT_TASK
from airflow_provider_truto.client.names import find_nearest
from airflow_provider_truto.client.operations import (
    fetch_account_object,
    fetch_account_value,
    fetch_batch,
    open_platform_pages,
)
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.resource import Resource
from airflow_provider_truto.client.sync_jobs_api import SyncJobsApi

#: Filters of integrated accounts that Truto documents beside those that are arguments.
_FILTERS = frozenset({"integration.name"})


class TrutoApi(SyncJobsApi):
    """Truto's API. Where an ``integrated_account_id`` is left out, the connection's default is meant.

    Nothing is rendered or converted here: ids are text, bodies are JSON-plain. Results are Truto's JSON. Methods
    raise ``TrutoError``s, and ``ValueError`` or ``TypeError`` for arguments that can never be right.

    A write without an ``idempotency_key`` gets one, see ``find_keys``: a random one (two calls are two writes), and
    from a hook within a task that task's, so that a retry does not write again. A ``context`` says which task is
    meant, ``None`` that no task is.
    """

    def unified(self, model: str, resource: str, *, integrated_account_id: str | None = None) -> Resource:
        """Return one resource of the unified API: ``unified("crm", "contacts").list(limit=100)``.

        :param model: the unified model: ``"crm"``.
        :param resource: a resource of the model: ``"contacts"``.
        :param integrated_account_id: the customer's integrated account; left out, the connection's default.
        """

        def build(method: str, **given: Any) -> Request:
            if given.get("streamed"):
                given["query"] = {**(given.get("query") or {}), "truto_response_format": "stream"}
            return unified_request(model, resource, method, **given)

        return Resource(self, build, integrated_account_id)

    def proxy(self, resource: str, *, integrated_account_id: str | None = None) -> Resource:
        """Return one resource in the CRM's own shape, by the CRM's own name; names are case-sensitive.

        :param resource: the CRM's name of it: ``"companies"``.
        :param integrated_account_id: the customer's integrated account; left out, the connection's default.
        """
        return Resource(self, lambda method, **given: proxy_request(resource, method, **given), integrated_account_id)

    def custom(
        self,
        method: str,
        path: str,
        *,
        integrated_account_id: str | None = None,
        body: Any = None,
        content_type: str | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        idempotency_key: str | None = None,
        context: Any = CURRENT_TASK,
    ) -> Any:
        """Call ``/custom/{path}`` with any HTTP method.

        Return JSON, bytes where no JSON came, and an iterable of bytes with ``stream``.

        Target: whose CRM, and what is called there.

        :param method: the HTTP method: ``"POST"``.
        :param path: the path below ``/custom/``.
        :param integrated_account_id: the customer's integrated account; left out, the connection's default.

        Payload: what is sent, and what becomes of the answer.

        :param body: bytes or text go as they are, under ``content_type``; anything else as JSON.
        :param content_type: of a body of bytes or text; left out, ``application/octet-stream`` or ``text/plain``.
        :param query: query parameters beside the customer.
        :param headers: further headers; not those that the client sets itself, such as ``Authorization``.
        :param stream: return the answer's bytes as an iterable.

        Safeguards: whether a write is made again.

        :param idempotency_key: Truto executes a key once. Without it the key is the task's, see ``context``.
        :param context: the context of the task whose key the call takes; left out, that of the task that runs.
            Without a task, and for ``None``, the key is random.
        """
        given = {
            "body": body,
            "content_type": content_type,
            "query": query,
            "headers": headers,
            "idempotency_key": idempotency_key,
            "streamed": stream,
        }

        def build(account: str) -> Request:
            return custom_request(method, path, integrated_account_id=account, **given)

        build("")  # what is wrong is said here, not while it runs
        return self.do(fetch_account_value, integrated_account_id, build, self.find_keys(context))

    def batch(
        self,
        resources: Sequence[Mapping[str, Any]],
        *,
        integrated_account_id: str | None = None,
        args: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        context: Any = CURRENT_TASK,
    ) -> Any:
        """Make several calls in one, and return their results by resource.

        Raises ``TrutoPartialFailureError`` where some failed.

        :param resources: the calls, each ``{"resource", "method", "id"?, "query"?, "body"?, …}``. A resource with a
            slash is unified, one without is the CRM's own and needs ``"persist": True``.
        :param integrated_account_id: the customer's integrated account; left out, the connection's default.
        :param args: Truto's ``args`` of a batch; they choose no other customer.
        :param idempotency_key: Truto executes a key once. Without it the key is the task's, see ``context``.
        :param context: the context of the task whose key the call takes; left out, that of the task that runs.
            Without a task, and for ``None``, the key is random.
        """
        return self.do(
            fetch_batch,
            resources,
            integrated_account_id=integrated_account_id,
            args=args,
            idempotency_key=idempotency_key,
            find_keys=self.find_keys(context),
        )

    def integrated_accounts(
        self,
        tenant_id: str | None = None,
        integration: str | None = None,
        status: str | None = None,
        **filters: Any,
    ) -> Any:
        """List integrated accounts, all pages, fetched as they are needed.

        :param tenant_id: only those of this customer, by your own id for them.
        :param integration: only those of this integration, by its name: ``"hubspot"``.
        :param status: only those of this status: ``"active"``.
        :param filters: Truto's other filters: ``is_sandbox``; ``limit`` is the size of a page, not of the list.
        """
        own = {"tenant_id": tenant_id, "integration": integration, "status": status}
        for name, value in own.items():
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise ValueError(f"{name} was given and is {value!r}: leave it out to list those of all")
        for name in filters:
            if (near := find_nearest(name, own)) and name not in _FILTERS:
                raise ValueError(f"Truto ignores {name!r}, a filter that it does not know: did you mean {near}?")
        query = {"tenant_id": tenant_id, "integration.name": integration, "status": status, **filters}
        return self.listing(open_platform_pages, integrated_accounts_request(query), account_key="id")

    def integrated_account(self, integrated_account_id: str | None = None) -> Any:
        """Return one integrated account's record: its status, tenant, integration, last error.

        :param integrated_account_id: the customer's integrated account; left out, the connection's default.
        """
        return self.do(fetch_account_object, integrated_account_id, integrated_account_request)

    def integrated_account_id_of(self, tenant_id: str, integration: str | None = None) -> Any:
        """Find the id of a customer's integrated account. Raises ``TrutoSchemaError`` for none or several.

        :param tenant_id: your own id for the customer.
        :param integration: which of the customer's accounts: ``"hubspot"``.
        """
        return self.do(find_account, tenant_id, integration)

    def refresh_credentials(self, integrated_account_id: str | None = None) -> Any:
        """Ask Truto to refresh an account's credentials; return ``{"success": true}``.

        :param integrated_account_id: the customer's integrated account; left out, the connection's default.
        """
        return self.do(fetch_account_object, integrated_account_id, refresh_request)

    def capabilities(
        self,
        integrated_account_id: str | None = None,
        *,
        integration: str | None = None,
        kind: Literal["proxy", "unified", "all"] | None = None,
        methods: Sequence[str] | None = None,
        resource: str | None = None,
        has_description: bool | None = None,
    ) -> Any:
        """Return what can be called for an account, or for an integration. Kept for five minutes.

        :param integrated_account_id: the customer's integrated account; left out, the connection's default.
        :param integration: an integration's slug or id, instead of an account.
        :param kind: ``"proxy"``, ``"unified"`` or ``"all"``, Truto's ``type``; left out, Truto takes all.
        :param methods: only these methods: ``["list", "get"]``.
        :param resource: only this resource.
        :param has_description: Truto's filter of this name; left out, Truto takes true.
        """
        asked = {"kind": kind, "methods": methods, "resource": resource, "has_description": has_description}
        _check_one_is_asked_about(integrated_account_id, integration)
        if integration is not None:
            request = capabilities_request(integration=integration, **asked)  # type: ignore[arg-type]
            return self.do(Client.fetch_object, request)
        return self.do(
            fetch_account_object,
            integrated_account_id,
            lambda account: capabilities_request(integrated_account_id=account, **asked),  # type: ignore[arg-type]
        )

    def tools(
        self,
        integrated_account_id: str | None = None,
        *,
        methods: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
    ) -> Any:
        """Return an account's methods with their schemas, as tools. Kept for five minutes.

        :param integrated_account_id: the customer's integrated account; left out, the connection's default.
        :param methods: only these methods: ``["list", "get"]``.
        :param tags: only methods with these tags.
        """
        return self.do(
            fetch_account_object,
            integrated_account_id,
            lambda account: tools_request(account, methods=methods, tags=tags),
        )

    def method_schema(
        self,
        model: str,
        resource: str,
        method: str,
        *,
        integration: str | None = None,
        integrated_account_id: str | None = None,
    ) -> Any:
        """Return what Truto says of a method in its own dialect: ``request_body_schema``, ``query_schema``, ….

        Kept for five minutes.

        :param model: the unified model: ``"crm"``.
        :param resource: a resource of the model: ``"contacts"``.
        :param method: a method of the resource: ``"update"``.
        :param integration: an integration's name, instead of an account: ``"hubspot"``.
        :param integrated_account_id: the customer's integrated account; left out, the connection's default.
        """
        _check_one_is_asked_about(integrated_account_id, integration)
        if integration is not None:
            return self.do(Client.fetch_object, meta_request(model, resource, method, integration=integration))
        return self.do(
            fetch_account_object,
            integrated_account_id,
            lambda account: meta_request(model, resource, method, integrated_account_id=account),
        )

    def model_docs(self, model: str, integration: str, *, form: Literal["json", "md", "html"] = "json") -> Any:
        """Return the documentation of a model for an integration: JSON, or text. Kept for five minutes.

        :param model: the unified model: ``"crm"``.
        :param integration: an integration's name: ``"hubspot"``.
        :param form: ``"json"``, or ``"md"`` or ``"html"`` for text.
        """
        return self.do(_fetch_text, model_docs_request(model, integration, form=form))

    def logs(self, log_type: str, **query: Any) -> Any:
        """List log entries: ``logs("rapid_bridge", created_at={"gt": …}, log_type_filter={…})``.

        Where the connection allows some accounts only, entries that name none are left out, too.

        :param log_type: which log: ``"rapid_bridge"`` is that of sync jobs.
        :param query: Truto's filters. ``created_at`` is a range of at most a month; ``limit`` (at most 100) is
            the size of a page, not of the list.
        """
        return self.listing(open_platform_pages, logs_request(log_type, query), account_key="integrated_account_id")

    def ping(self) -> Any:
        """Call ``/ping``, whose answer is undocumented."""
        return self.do(Client.fetch_value, admin_request("GET", "ping"))


def _check_one_is_asked_about(integrated_account_id: str | None, integration: str | None) -> None:
    if integrated_account_id is not None and integration is not None:
        raise ValueError("give either integrated_account_id or integration: the question is about one of the two")


async def _fetch_text(client: Client, request: Request) -> Any:
    value = await client.fetch_value(request)
    return value.decode(errors="replace") if isinstance(value, bytes) else value
