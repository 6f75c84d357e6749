"""The retry loop: sends one request until it succeeds or a repeat cannot help, over any transport.

What decides what a status means for it is the table in ``statuses``, not this module.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from airflow_provider_truto.client.endpoints import capabilities_request, integrated_account_request
from airflow_provider_truto.client.error_parsing import build_api_error, is_remote_error
from airflow_provider_truto.client.errors import (
    TrutoApiError,
    TrutoError,
    TrutoTransportError,
)
from airflow_provider_truto.client.keys import KeyVersionStore
from airflow_provider_truto.client.rate_limit_headers import DEFAULT_WAIT, RATE_LIMITED, parse_wait
from airflow_provider_truto.client.rate_limiter import RateLimiter
from airflow_provider_truto.client.redaction import shorten
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.statuses import (
    BLOCKED_ACCOUNT,
    MAYBE_BLOCKED_ACCOUNT,
    SANDBOX_ACCOUNT,
    Meaning,
    find_meaning,
)
from airflow_provider_truto.client.tokens import Token
from airflow_provider_truto.client.transports.base import Transport, TransportFailure, maybe_await

_FIRST_BACKOFF = 1.0
_LONGEST_BACKOFF = 60.0
#: Seconds; what asks for more is taken for a mistake. A CRM's daily limit opens within a day.
LONGEST_PUT_OFF = 86_400.0


class TokenSource(Protocol):
    """Provides the tokens that calls are sent under; ``core.Client`` is one."""

    async def get_token(self, request: Request) -> Token:
        """Return the token to send the call under."""

    async def renew_token(self, request: Request, refused: Token) -> Token | None:
        """Return a token other than the one that Truto refused, ``None`` where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """When to stop repeating. ``max_wait`` bounds the sum of all waits, in seconds.

    A wait that was asked for and is longer than ``put_off_over`` seconds is left to the caller, whatever ``max_wait``
    is: the error is raised with ``is_put_off``. ``None``: no wait is put off, and none of more than a day ever is.
    """

    max_attempts: int = 5
    max_wait: float = 300.0
    put_off_over: float | None = None


class Result(NamedTuple):
    """A success, its parsed JSON, and what it cost: attempts and seconds waited.

    ``value`` is ``{}`` for an empty answer, bytes where the call takes any content and no JSON came, and ``None``
    for a streamed one; ``request`` is the one that succeeded, with the key of its last attempt. ``paced`` are the
    seconds spent waiting for the rate limits, which ``waited`` does not count. ``scrub`` removes the secrets of this
    call from a text.
    """

    response: Response
    value: Any
    request: Request
    attempts: int
    waited: float
    paced: float = 0.0
    scrub: Callable[[str], str] = str

    def __repr__(self) -> str:
        return f"Result(request={self.request}, response={self.response!r}, attempts={self.attempts})"


class UnreadableError(Exception):
    """A 2xx answer whose body cannot be used; ``failure`` says why."""

    def __init__(self, reason: str, *, transient: bool = True) -> None:
        super().__init__(reason)
        self.failure = TransportFailure(reason, transient=transient)


def parse_value(request: Request, response: Response) -> Any:
    """Return the value of a 2xx answer.

    Raises ``UnreadableError`` where it has none: a cut-off JSON is worth another try, a web page is not.
    """
    if request.streamed:
        return None
    if response.body and not response.claims_json:
        if request.any_content:
            return response.body
        raise UnreadableError(
            f"HTTP {response.status} came as {response.content_type}, not as JSON: something between here and"
            " Truto answered (a proxy, a login page), or the host is not Truto's",
            transient=False,
        )
    if (
        not response.body
        and response.status != 204
        and not {"content-length", "transfer-encoding"} & set(response.headers)
    ):
        raise UnreadableError(f"HTTP {response.status} without a body and without a length: the answer was cut off")
    try:
        return response.json()
    except ValueError as error:
        raise UnreadableError(f"HTTP {response.status} with a body that is not whole JSON ({error})") from None


class RetryLoop:
    """Sends one request until it succeeds or a repeat cannot help.

    Every attempt of a write repeats its ``Idempotency-Key``; a version above 1, kept in ``key_versions``, is appended
    to it (``…-2``). The version is raised only after two refusals and no other outcome under the same key and if
    ``key_versions`` can keep it.

    ``on_wait`` gets a sentence before each wait between two attempts; the wait happens inside of the context manager
    that ``on_backoff`` makes. ``connection`` is the name that errors give to the connection, ``server`` its base URL.
    ``now`` is in seconds since the epoch, ``jitter`` in [0, 1).
    """

    def __init__(
        self,
        request: Request,
        *,
        transport: Transport,
        tokens: TokenSource,
        limiter: RateLimiter,
        policy: RetryPolicy,
        key_versions: KeyVersionStore | None,
        connection: str,
        server: str,
        scrub: Callable[[Request, Token, str], str],
        on_wait: Callable[[str], None],
        on_backoff: Callable[[], AbstractContextManager[None]],
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._request = request
        self._transport = transport
        self._tokens = tokens
        self._limiter = limiter
        self._policy = policy
        self._key_versions = key_versions if request.is_write and request.idempotency_key is not None else None
        self._base_key = request.idempotency_key
        self._connection = connection
        self._server = server
        self._scrub = scrub
        self._on_wait = on_wait
        self._on_backoff = on_backoff
        self._now = now
        self._jitter = jitter
        self._attempts = 0
        self._waited = 0.0
        self._paced = 0.0
        self._renewed = False
        #: Whether an earlier attempt may have executed the write although it brought no success.
        self._may_have_executed = False
        self._known_unblocked = False
        self._use_key_version(self._key_versions.load() if self._key_versions else 1)
        self._refusals = self._key_versions.refusals if self._key_versions else 0

    async def run(self) -> Result:
        """Return the result of a 2xx answer.

        Raises the ``TrutoError`` of anything else, with ``attempts``, ``waited`` and ``idempotency_key``.
        """
        await self._maybe_advance_key()  # a call that goes on has waited since the last refusal
        try:
            while True:
                # Before each attempt, since a wait may outlast a token's life.
                self._token = await self._tokens.get_token(self._request)
                self._attempts += 1
                reply = await self._send(self._request, self._token)
                if isinstance(reply, Response) and reply.ok:
                    try:
                        return self._build_result(reply, parse_value(self._request, reply))
                    except UnreadableError as error:
                        reply = error.failure
                if isinstance(reply, TransportFailure):
                    await self._handle_failure(reply)
                else:
                    await self._handle_error(reply)
        except TrutoError as error:
            error.attempts = self._attempts
            error.waited = self._waited
            error.idempotency_key = self._request.idempotency_key
            error.integrated_account_id = self._request.integrated_account_id or None
            raise

    def _build_result(self, response: Response, value: Any) -> Result:
        return Result(
            response=response,
            value=value,
            request=self._request,
            attempts=self._attempts,
            waited=self._waited,
            paced=self._paced,
            scrub=self._scrub_text,
        )

    async def _send(self, request: Request, token: Token) -> Response | TransportFailure:
        """Send as soon as the rate limits allow it, and report the answer to the rate limiter."""
        account = request.integrated_account_id if request.is_data else None
        while seconds := self._limiter.acquire_delay(account):
            self._paced += seconds
            await self._transport.sleep(seconds)
        reply: Response | TransportFailure | None = None
        try:
            reply = await self._transport.send(request, token)
            return reply
        finally:  # also where the caller is cancelled
            if isinstance(reply, Response):
                is_remote = not reply.ok and is_remote_error(reply)
                self._limiter.on_response(account, response=reply, is_remote=is_remote)
            else:
                self._limiter.on_failure(account)

    async def _handle_failure(self, failure: TransportFailure) -> None:
        """Wait for the next attempt, or raise: a write that may have been sent is repeated only under its key."""
        self._may_have_executed = self._may_have_executed or failure.maybe_sent
        may_retry = failure.transient and (self._is_repeatable or not failure.maybe_sent)
        await self._wait_or_raise(self._build_transport_error(failure), None, may_retry=may_retry)

    @property
    def _is_repeatable(self) -> bool:
        """Whether a repeat cannot execute a write twice."""
        return not self._request.is_write or self._request.idempotency_key is not None

    def _build_transport_error(self, failure: TransportFailure) -> TrutoTransportError:
        reason = shorten(self._scrub_text(failure.reason))
        outcome = self._describe_outcome() if self._request.is_write else ""
        if failure.transient and not self._may_have_executed:
            outcome = f" Fix: check the connection's Base URL and proxy, and the worker's network.{outcome}"
        attempts = "1 attempt" if self._attempts == 1 else f"{self._attempts} attempts"
        error = TrutoTransportError(
            f"{self._request.describe()}: no usable answer from {self._server} after {attempts}: {reason}.{outcome}"
        )
        error.transient = failure.transient
        error.maybe_sent = self._may_have_executed
        return error

    def _describe_outcome(self) -> str:
        """Return whether a write that got no answer may have been executed."""
        if not self._may_have_executed:
            return " Nothing was written: there was no connection that the request could have gone out on."
        outcome = " Whether the write happened is unknown."
        if self._request.idempotency_key is not None:
            outcome += (
                " A repeat under the same Idempotency-Key, such as a retry of the task, is executed at most once."
            )
        return outcome

    async def _handle_error(self, response: Response) -> None:
        """Wait for the next attempt, or raise what the response means; a renewed token is used at once."""
        meaning = find_meaning(response.status, is_remote=is_remote_error(response))
        if meaning.renews_token and await self._renew_token():
            return
        meaning = await self._ask_account(meaning)
        error = build_api_error(
            self._request,
            response,
            retry_after=parse_wait(response.headers, now=self._now(), status=response.status),
            meaning=meaning,
            connection=self._connection,
            server=self._server,
            scrub=self._scrub_text,
        )
        # Anything but a refusal may have executed the write: another key could execute it once more.
        self._may_have_executed = self._may_have_executed or not meaning.is_refusal
        self._refusals += meaning.is_refusal
        requested_wait = error.retry_after
        if requested_wait is None and response.status == RATE_LIMITED:
            requested_wait = DEFAULT_WAIT
        may_retry = meaning.in_call and (self._is_repeatable or meaning.is_refusal)
        await self._wait_or_raise(error, requested_wait, may_retry=may_retry)
        if meaning.is_refusal:
            await self._maybe_advance_key()

    async def _wait_or_raise(self, error: TrutoError, requested_wait: float | None, *, may_retry: bool) -> None:
        """Sleep before the next attempt; raise instead where the wait would exceed ``max_wait``, never shorten it."""
        if not may_retry or self._attempts >= self._policy.max_attempts:
            raise error
        if requested_wait is not None:
            await self._maybe_put_off(error, requested_wait)
        left = self._policy.max_wait - self._waited
        if requested_wait is not None:
            seconds = requested_wait
        else:
            ceiling = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** (self._attempts - 1))
            seconds = ceiling * (0.5 + 0.5 * self._jitter())
        if seconds > left:
            if isinstance(error, TrutoApiError):
                error.retry_after = seconds
            error.args = (f"{error} The next attempt would wait {seconds:.0f} s, {left:.0f} s are left of max_wait.",)
            raise error
        if requested_wait is not None:
            # Spread tasks that were told the same moment; never send early.
            seconds = min(left, seconds + self._jitter())
        self._waited += seconds
        self._on_wait(self._describe_wait(error, seconds))
        with self._on_backoff():
            await self._transport.sleep(seconds)

    async def _maybe_put_off(self, error: TrutoError, seconds: float) -> None:
        """Raise the error where its wait is too long for this process; its caller may send again after it."""
        over = self._policy.put_off_over
        if over is None or not over < seconds <= LONGEST_PUT_OFF:
            return
        if self._key_versions is not None:
            known = {"refusals": self._refusals, "may_have_executed": self._may_have_executed}
            await maybe_await(self._key_versions.put_off(**known))  # type: ignore[arg-type]
        if isinstance(error, TrutoApiError):
            error.retry_after = seconds
        error.is_put_off = True
        error.args = (f"{error} The next attempt may come in {seconds:.0f} s.",)
        raise error

    def _describe_wait(self, error: TrutoError, seconds: float) -> str:
        how = f"answered {error.status}" if isinstance(error, TrutoApiError) else "gave no usable answer"
        return (
            f"{self._request} integrated_account={self._request.integrated_account_id}: attempt {self._attempts} of"
            f" {self._policy.max_attempts} {how}; the next one comes in {seconds:.1f} s"
        )

    async def _maybe_advance_key(self) -> None:
        """Go on to the next version of a key that was refused twice, where that cannot repeat a write."""
        key_versions = self._key_versions
        if (
            key_versions is not None
            and key_versions.may_advance
            and self._refusals >= 2
            and not self._may_have_executed
        ):
            await maybe_await(key_versions.save(self._key_version + 1))
            self._use_key_version(self._key_version + 1)

    def _use_key_version(self, version: int) -> None:
        self._key_version = version
        self._refusals = 0
        if version > 1:
            self._request = self._request.replace(idempotency_key=f"{self._base_key}-{version}")

    async def _renew_token(self) -> bool:
        """Look for a token other than the refused one, at most once per call."""
        if self._renewed:
            return False
        self._renewed = True
        return await self._tokens.renew_token(self._request, self._token) is not None

    async def _ask_account(self, meaning: Meaning) -> Meaning:
        """Return what a status means for this account, where the status alone does not say it."""
        account_id = self._request.integrated_account_id
        if account_id is None:
            return meaning
        if meaning.asks == "is_blocked" and not self._known_unblocked:
            return await self._ask_whether_blocked(account_id, meaning)
        if meaning.asks == "is_sandbox" and self._request.is_write:
            found = await self._look_up(integrated_account_request(account_id))
            if isinstance(found, dict) and found.get("is_sandbox") is True:
                return SANDBOX_ACCOUNT
        return meaning

    async def _ask_whether_blocked(self, account_id: str, unblocked: Meaning) -> Meaning:
        """Ask whether the account is blocked, since the status is permanent then; no more once Truto has said no."""
        found = await self._look_up(capabilities_request(integrated_account_id=account_id))
        account = found.get("account") if isinstance(found, dict) else None
        blocked = account.get("is_blocked") if isinstance(account, dict) else None
        if blocked is True:
            return BLOCKED_ACCOUNT
        self._known_unblocked = blocked is False
        return unblocked if self._known_unblocked else MAYBE_BLOCKED_ACCOUNT

    async def _look_up(self, question: Request) -> Any:
        """Return the JSON of a GET that helps to explain an error; ``None`` where that fails too."""
        reply = await self._send(question, await self._tokens.get_token(question))
        if isinstance(reply, TransportFailure) or not reply.ok:
            return None
        try:
            return reply.json()
        except ValueError:
            return None

    def _scrub_text(self, text: str) -> str:
        return self._scrub(self._request, self._token, text)
