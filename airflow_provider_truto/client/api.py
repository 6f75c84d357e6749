"""Everything that Truto offers, as methods; written once for requests and for aiohttp.

A subclass says how a coroutine is run: the client and hook on requests return its result, those on aiohttp return
the coroutine, and async iterators.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from airflow_provider_truto.client.accounts import find_account
from airflow_provider_truto.client.core import Client, Function, P, T
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
from airflow_provider_truto.client.keys import CURRENT_TASK, FindKeys, RandomKeys
from airflow_provider_truto.client.names import find_nearest
from airflow_provider_truto.client.operations import (
    fetch_account_object,
    fetch_account_value,
    fetch_batch,
    fetch_run,
    stop_run,
)
from airflow_provider_truto.client.pages import Pages
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.resource import Resource

#: Filters of integrated accounts that Truto documents beside those that are arguments.
_FILTERS = frozenset({"integration.name"})
ErrorHandling = Literal["fail_fast", "ignore", "batch"]


class TrutoApi(ABC):
    """Truto's API. Where an ``integrated_account_id`` is left out, the connection's default is meant.

    Nothing is rendered or converted here: ids are text, bodies are JSON-plain. Results are Truto's JSON. Methods
    raise ``TrutoError``s, and ``ValueError`` or ``TypeError`` for arguments that can never be right.

    A write without an ``idempotency_key`` gets one, see ``find_keys``: a random one (two calls are two writes), and
    from a hook within a task that task's, so that a retry does not write again. A ``context`` says which task is
    meant, ``None`` that no task is.
    """

    def find_keys(self, context: Any) -> FindKeys:  # noqa: ARG002
        """Return what makes the keys of writes that are given none; a bare client knows no tasks."""
        return RandomKeys

    @abstractmethod
    def do(self, function: Function[P, T], *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run a coroutine function on the client."""

    @abstractmethod
    def listing(
        self,
        function: Function[P, Pages],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Any:
        """Return an iterator over the records of the pages that a coroutine function opens."""

    def unified(self, model: str, resource: str, *, integrated_account_id: str | None = None) -> Resource:
        """Return one resource of the unified API: ``unified("crm", "contacts").list(limit=100)``."""

        def build(method: str, **given: Any) -> Request:
            if given.get("streamed"):
                given["query"] = {**(given.get("query") or {}), "truto_response_format": "stream"}
            return unified_request(model, resource, method, **given)

        return Resource(self, build, integrated_account_id)

    def proxy(self, resource: str, *, integrated_account_id: str | None = None) -> Resource:
        """Return one resource in the CRM's own shape, by the CRM's own name; names are case-sensitive."""
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
        idempotency_key: str | None = None,
        context: Any = CURRENT_TASK,
        stream: bool = False,
    ) -> Any:
        """Call ``/custom/{path}`` with any HTTP method.

        A ``body`` of bytes or text goes as it is, under ``content_type``; anything else as JSON. Returns JSON, bytes
        where no JSON came, and an iterable of bytes with ``stream``.
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
        """Make several calls in one: each ``{"resource", "method", "id"?, "query"?, "body"?, …}``.

        A resource with a slash is unified, one without is the CRM's own and needs ``"persist": True``. Returns the
        results by resource. Raises ``TrutoPartialFailureError`` where some failed.
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
        """List integrated accounts, ``integration`` by its name such as ``"hubspot"``."""
        own = {"tenant_id": tenant_id, "integration": integration, "status": status}
        for name, value in own.items():
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise ValueError(f"{name} was given and is {value!r}: leave it out to list those of all")
        for name in filters:
            if (near := find_nearest(name, own)) and name not in _FILTERS:
                raise ValueError(f"Truto ignores {name!r}, a filter that it does not know: did you mean {near}?")
        query = {"tenant_id": tenant_id, "integration.name": integration, "status": status, **filters}
        return self.listing(_open_pages, integrated_accounts_request(query), account_key="id")

    def integrated_account(self, integrated_account_id: str | None = None) -> Any:
        """Return one integrated account's record: its status, tenant, integration, last error."""
        return self.do(fetch_account_object, integrated_account_id, integrated_account_request)

    def integrated_account_id_of(self, tenant_id: str, integration: str | None = None) -> Any:
        """Find the id of a customer's integrated account; none or several are a ``TrutoSchemaError``."""
        return self.do(find_account, tenant_id, integration)

    def refresh_credentials(self, integrated_account_id: str | None = None) -> Any:
        """Ask Truto to refresh an account's credentials; returns ``{"success": true}``."""
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
        """Return what can be called for an account, or for an integration by slug or id. Kept for five minutes."""
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
        """Return an account's methods with their schemas, as tools. Kept for five minutes."""
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

        For an integration by name there is no account. Kept for five minutes.
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
        """Return the documentation of a model for an integration: JSON, or text. Kept for five minutes."""
        return self.do(_fetch_text, model_docs_request(model, integration, form=form))

    def logs(self, log_type: str, **query: Any) -> Any:
        """List log entries: ``logs("rapid_bridge", created_at={"gt": …}, log_type_filter={…})``.

        Where the connection allows some accounts only, entries that name none are left out, too.
        """
        return self.listing(_open_pages, logs_request(log_type, query), account_key="integrated_account_id")

    def sync_job_runs(self, **query: Any) -> Any:
        """List runs of sync jobs.

        Truto documents no filters of this list, and ignores what it does not know: compare what comes.
        """
        request = admin_request("GET", "sync-job-run", query=query)
        return self.listing(_open_pages, request, account_key="integrated_account_id")

    def sync_job_run(self, run_id: str) -> Any:
        """Return one run of a sync job."""
        admin_request("GET", "sync-job-run", run_id)  # what is wrong is said here, not while it runs
        return self.do(fetch_run, run_id)

    def start_sync_job_run(
        self,
        sync_job_id: str,
        *,
        error_handling: ErrorHandling,
        integrated_account_id: str | None = None,
        args: Mapping[str, Any] | None = None,
        resources: Sequence[str] | None = None,
        ignore_previous_run: bool | None = None,
        force: bool | None = None,
        super_query: str | None = None,
        webhook_id: str | None = None,
        daemon_group_key: str | None = None,
        datastore_id: str | None = None,
        events_to_send: Sequence[str] | None = None,
        mutex_key: str | None = None,
        state_key: str | None = None,
    ) -> Any:
        """Start a run of a sync job, and return it. A lost answer is not repeated: that could start two.

        The arguments are those of Truto (docs/api-reference/admin/sync-job-runs/create); ``None`` is not sent.
        """
        options = {
            "args": args,
            "resources": resources,
            "ignore_previous_run": ignore_previous_run,
            "force": force,
            "super_query": super_query,
            "webhook_id": webhook_id,
            "daemon_group_key": daemon_group_key,
            "datastore_id": datastore_id,
            "events_to_send": events_to_send,
            "mutex_key": mutex_key,
            "state_key": state_key,
        }
        for name in ("resources", "events_to_send"):
            if options[name] is not None and not options[name]:
                raise ValueError(f"{name} is empty: leave it out where all are meant")

        def build(account: str) -> Request:
            body = {
                "sync_job_id": sync_job_id,
                "integrated_account_id": account,
                "status": "created",
                "error_handling": error_handling,
                **{name: value for name, value in options.items() if value is not None},
            }
            return admin_request("POST", "sync-job-run", body=body)

        return self.do(fetch_account_object, integrated_account_id, build, "id")

    def stop_sync_job_run(self, run_id: str) -> Any:
        """Stop a run; it may be gone after that."""
        admin_request("DELETE", "sync-job-run", run_id)
        return self.do(stop_run, run_id)

    def ping(self) -> Any:
        """Call ``/ping``, whose answer is undocumented."""
        return self.do(Client.fetch_value, admin_request("GET", "ping"))


def _check_one_is_asked_about(integrated_account_id: str | None, integration: str | None) -> None:
    if integrated_account_id is not None and integration is not None:
        raise ValueError("give either integrated_account_id or integration: the question is about one of the two")


async def _fetch_text(client: Client, request: Request) -> Any:
    value = await client.fetch_value(request)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


async def _open_pages(client: Client, first: Request, *, account_key: str) -> Pages:
    return Pages(client, first, account_key=account_key)
