"""Scripted faults: what goes wrong with which calls, defined before they are made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from airflow_provider_truto.emulator.http.errors import build_envelope
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response, encode_json

_ABSENT: Any = object()
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("method", "path", "account", "text", "reset"), str),
    **dict.fromkeys(("times", "skip", "status", "cut", "truncate"), int),
    **dict.fromkeys(("delay_before", "delay_after"), (int, float)),
    "headers": dict,
    "apply": bool,
}


@dataclass(kw_only=True)
class Fault:
    """One fault; every key of its JSON object is optional, and null means absent, except for `times`.

    Which calls: `method`, `path` (a regular expression searched in the decoded path), `account` (an integrated
    account id). Of these the first `skip` pass and the next `times` are hit, null is always; both count down.
    Where several faults match, the oldest one fires.

    What answers: `status` (200), `headers`, and `body` (JSON) or `text` replace the real answer; a status from 400
    up without a body gets the usual error body. `headers` alone are set on the real answer. A replaced
    call is executed only with `apply`. `truncate` sends a well-formed answer of only n bytes; `cut` declares the
    whole length, sends n bytes and closes.

    When: `delay_before` and `delay_after` are seconds before and after the call is executed. `reset` sends a TCP
    RST instead of an answer, "before" or "after" the call is executed.
    """

    method: str | None = None
    path: str | None = None
    account: str | None = None
    times: int | None = 1
    skip: int = 0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = _ABSENT
    text: str | None = None
    apply: bool = False
    delay_before: float = 0
    delay_after: float = 0
    reset: str | None = None
    cut: int | None = None
    truncate: int | None = None

    @property
    def replacement(self) -> Response | None:
        """The answer that replaces the real one; None where that stands."""
        status = self.status or 200
        if self.text is not None:
            return Response(status, self.text.encode(), (("content-type", "text/plain; charset=utf-8"),))
        if self.body is not _ABSENT:
            return Response(status, encode_json(self.body))
        if status >= 400:
            return Response(status, encode_json(build_envelope(status, "Scripted by a fault")))
        return Response(status, b"", ()) if self.status else None

    @property
    def executes(self) -> bool:
        """Whether the call is executed all the same."""
        return self.reset == "after" or (self.reset is None and (self.apply or self.replacement is None))

    @property
    def revokes_credentials(self) -> bool:
        """Whether the answer is a provider's 401, after which the account needs a human."""
        return self.status == 401 and isinstance(self.body, dict) and self.body.get("truto_is_remote_error") is True

    def fires_on(self, request: Request) -> bool:
        """Whether the fault fires on this call, which is then counted."""
        if (
            self.times == 0
            or (self.method and self.method.upper() != request.method)
            or self.account not in (None, request.integrated_account_id)
            or not re.search(self.path or "", "/" + "/".join(request.path))
        ):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def shape_response(self, response: Response) -> Response:
        """Return the answer with this fault's headers, and of its body as much as is left."""
        headers = {**dict(response.headers), **{name.lower(): str(value) for name, value in self.headers.items()}}
        return replace(
            response,
            headers=tuple(headers.items()),
            body=response.body if self.truncate is None else response.body[: self.truncate],
        )


def read_fault(spec: Mapping[str, Any]) -> Fault:
    """Return the fault that a JSON object asks for. Raises ValueError, which names the known keys."""
    known = [key.name for key in fields(Fault)]
    unknown = ", ".join(key for key in spec if key not in known)
    if unknown:
        raise ValueError(f"unknown fault keys: {unknown}; known are {', '.join(known)}")
    given = {key: value for key, value in spec.items() if value is not None or key in ("times", "body")}
    for key, value in given.items():
        kind = _KINDS.get(key)
        if (
            kind
            and value is not None
            and (not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool))
        ):
            raise ValueError(f"a fault's {key} cannot be {value!r}")
        if kind and isinstance(value, int | float) and value < 0:
            raise ValueError(f"a fault's {key} must not be negative")
    if not 200 <= given.get("status", 200) <= 599:
        raise ValueError("a fault's status is one of 200 to 599")
    if given.get("reset") not in (None, "before", "after"):
        raise ValueError("a fault's reset is 'before' or 'after'")
    try:
        re.compile(given.get("path", ""))
    except re.error as error:
        raise ValueError(f"a fault's path is a regular expression: {error}") from error
    return Fault(**given)
