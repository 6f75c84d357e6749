"""The unified routes: `/unified/{model}/{resource}` and `/unified/{model}/{resource}/{id}`."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic
from typing import Any

from airflow_provider_truto.emulator import mapping
from airflow_provider_truto.emulator.accounts import IntegratedAccount
from airflow_provider_truto.emulator.admin import find_account
from airflow_provider_truto.emulator.call import Answer, Call, Execution, json_answer, json_bytes
from airflow_provider_truto.emulator.crm import Native
from airflow_provider_truto.emulator.errors import ProviderError, RefusedError, missing
from airflow_provider_truto.emulator.pages import Page
from airflow_provider_truto.emulator.resources import RESOURCES
from airflow_provider_truto.emulator.state import State

_DEFAULT_LIMIT = 25
_FORMATS = ("unified", "raw", "normalized", "stream")
_PROVIDER_JSON = ("content-type", "application/json;charset=utf-8")
_COLLECTION_METHODS = {"GET": "list", "POST": "create"}
_RECORD_METHODS = {"GET": "get", "PATCH": "update", "DELETE": "delete"}


class UnifiedCall:
    """One unified call in its two halves.

    To make one is Truto's half: what Truto refuses is refused here, and was never executed. `execute` is the
    CRM's. `record_id` is empty for a call to the collection. Raises RefusedError.
    """

    def __init__(self, state: State, call: Call, *, resource_key: str, record_id: str = "") -> None:
        self._state = state
        self._call = call
        self._record_id = record_id
        if resource_key not in RESOURCES:
            raise RefusedError(404, f"There is no unified resource {resource_key}")
        self._resource = RESOURCES[resource_key]
        self._method = self._read_method()
        self._account = self._find_account()
        self._format = call.query.get("truto_response_format", "unified")
        if self._format not in _FORMATS:
            raise RefusedError(400, f"truto_response_format must be one of {', '.join(_FORMATS)}")
        if self._method == "list":
            self._page = Page.asked(call, default_limit=_DEFAULT_LIMIT)
        if self._method in ("create", "update"):
            self._provider_body = mapping.to_provider(
                self._read_body(), resource=self._resource, integration=self._account.integration
            )
        self._crm = state.crm(self._account, self._resource)

    def execute(self) -> Answer:
        """The CRM's answer, its errors included. Whatever it is, the call is logged as executed."""
        execution = Execution(call=self._call, record_id=self._record_id or None, time=monotonic())
        self._state.executions.append(execution)
        try:
            self._pass_the_door()
            if self._method == "list":
                answer = self._listed()
            elif self._method == "delete":
                self._crm.delete(self._record_id)
                answer = json_answer(200, {"id": self._record_id}, executed=True)
            else:
                native = self._touched()
                execution.record_id = native["id"]
                answer = self._shown(native)
        except ProviderError as error:
            answer = error.answer()
        return replace(answer, headers=answer.headers + self._state.limits.headers(self._account.record["id"]))

    def _read_method(self) -> str:
        verb = self._call.method
        if self._record_id and verb == "POST":  # the shape of a custom method, of which no integration here has any
            raise RefusedError(404, f"There is no method {self._record_id} on {self._resource.key}")
        methods = _RECORD_METHODS if self._record_id else _COLLECTION_METHODS
        if verb not in methods:
            raise RefusedError(405, f"{verb} is not allowed here")
        return methods[verb]

    def _find_account(self) -> IntegratedAccount:
        account_id = self._call.query.get("integrated_account_id")
        if not account_id:
            raise missing("query_parameters", "integrated_account_id")
        account = find_account(self._state, str(account_id))
        if account.is_blocked:
            raise RefusedError(503, "This integrated account is blocked, contact support@truto.one")
        if account.record["is_sandbox"] and self._method not in ("list", "get"):
            raise RefusedError(405, "This integrated account is a sandbox, which can only be read")
        return account

    def _read_body(self) -> dict[str, Any]:
        try:
            body = self._call.json()
        except ValueError as error:
            raise RefusedError(400, f"The body is no JSON: {error}") from error
        if not isinstance(body, dict):
            raise RefusedError(400, "The body must be a JSON object")
        required = [field.name for field in self._resource.fields if field.required and field.name not in body]
        if self._method == "create" and required:
            raise missing("body_fields", *required)
        return body

    def _pass_the_door(self) -> None:
        """What a CRM looks at before it looks at the call itself: its quota, and the credentials."""
        limits, record = self._state.limits, self._account.record
        if limits.enforced and not limits.provider.spend(record["id"]):
            raise ProviderError(
                429, "Too many requests", code="rate_limited", retry_after=limits.provider.retry_after
            )
        if record["status"] == "needs_reauth":
            raise ProviderError(401, "The credentials were revoked", code="invalid_credentials")

    def _touched(self) -> Native:
        """The one record that the call is about, after the call."""
        if self._method == "create":
            return self._crm.create(self._provider_body)
        if self._method == "update":
            return self._crm.update(self._record_id, self._provider_body)
        return self._crm.get(self._record_id)

    def _listed(self) -> Answer:
        natives, next_cursor = self._page.of(self._crm.all())
        if self._format == "stream":
            return _streamed(natives)
        items = natives if self._format == "raw" else [self._mapped(native) for native in natives]
        key = self._call.query.get("truto_key_by")
        envelope = {
            "result": {str(item[key]): item for item in items if key in item} if isinstance(key, str) else items,
            "next_cursor": next_cursor,
            "prev_cursor": None,
            "result_count": len(items),
            "is_partial_response": False,
        }
        return json_answer(200, envelope, executed=True)

    def _shown(self, native: Native) -> Answer:
        """One record in the form that the call asks for."""
        if self._format == "stream":
            return _streamed(native)
        return json_answer(200, native if self._format == "raw" else self._mapped(native), executed=True)

    def _mapped(self, native: Native) -> dict[str, Any]:
        normal = self._crm.normalized(native) if self._format == "normalized" else native
        shown = mapping.to_unified(normal, resource=self._resource, integration=self._account.integration)
        if self._call.query.get("truto_ignore_remote_data") != "true":
            shown["remote_data"] = native
        for name in _texts(self._call.query.get("truto_exclude_fields")):
            shown.pop(name, None)
        return shown


def _texts(value: Any) -> list[str]:
    """A list parameter in every form in which a query can hold it; a long indexed one reads as an object."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def _streamed(native: Any) -> Answer:
    return Answer(200, json_bytes(native), (_PROVIDER_JSON,), executed=True, chunked=True)
