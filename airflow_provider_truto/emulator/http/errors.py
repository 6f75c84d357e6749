"""Errors as the API words them: `{"statusCode", "error", "message"}`, and more for those of a provider."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response, json_response


class RefusedError(Exception):
    """Truto answers by itself: nothing reached a CRM. The flag of a remote error is absent, not false.

    `insight` is the `truto_error_insight`, `retry_after` the header in whole seconds.
    """

    def __init__(
        self, status: int, message: str, *, insight: dict[str, Any] | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.insight = insight
        self.retry_after = retry_after

    def to_response(self) -> Response:
        """Return the answer that says so."""
        extra = {"truto_error_insight": self.insight} if self.insight else {}
        return json_response(
            self.status, build_envelope(self.status, self.message, **extra), *_retry_after(self.retry_after)
        )


class ProviderError(Exception):
    """The CRM said no, in its own words: `{"errors": [{"code": …, …}]}`."""

    def __init__(
        self, status: int, message: str, *, code: str, retry_after: int | None = None, **details: str
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.raw_response = {"errors": [{"code": code, **details}]}
        self.retry_after = retry_after

    def to_response(self, *, insightful: bool = True) -> Response:
        """Return the answer that Truto makes of it, without the CRM's rate limit headers.

        Only unified answers are `insightful`: the others have no `truto_error_insight`.
        """
        insight = {"remote_error": {"description": "The integration's own API answered with this error."}}
        if self.status == 429:
            insight["rate_limit_error"] = {"description": "The integration's own rate limit is used up."}
        extra = {"truto_error_insight": insight} if insightful else {}
        body = build_envelope(
            self.status, self.message, truto_is_remote_error=True, raw_response=self.raw_response, **extra
        )
        # A CRM that says 429 has done nothing yet: a later attempt must not be given this answer again.
        return json_response(self.status, body, *_retry_after(self.retry_after), executed=self.status != 429)


def build_envelope(status: int, message: str, **extra: Any) -> dict[str, Any]:
    """Return the body of every error."""
    return {"statusCode": status, "error": _phrase(status), "message": message, **extra}


def allow_methods(request: Request, *methods: str) -> None:
    """Refuse every other verb with a 405."""
    if request.method not in methods:
        raise RefusedError(405, f"{request.method} is not allowed here")


def build_missing_error(kind: str, *names: str) -> RefusedError:
    """Return a 400 for `query_parameters` or `body_fields` that are required and were left out."""
    readable = kind.replace("_", " ")
    insight = {f"missing_required_{kind}": {"description": f"Required {readable} are missing.", "value": names}}
    return RefusedError(400, f"Missing required {readable}: {', '.join(names)}", insight=insight)


def _retry_after(seconds: int | None) -> list[tuple[str, str]]:
    return [] if seconds is None else [("retry-after", str(seconds))]


def _phrase(status: int) -> str:
    if status == 422:
        return "Unprocessable Entity"  # Python 3.13 has another name for it
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
