"""One call to its end, without I/O.

``exchange`` is a generator. It yields what it wants done (``Send``, ``Sleep``, ``CurrentToken``, ``NewToken``,
``SaveSuffix``), receives what came of it, and returns an ``Outcome`` or raises a ``TrutoError``. Retrying,
waiting, renewal of tokens and idempotency live here, once; the drivers only carry out the steps.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from airflow_provider_truto.client.answer import Answer
from airflow_provider_truto.client.call import Call
from airflow_provider_truto.client.endpoints import capabilities_call, integrated_account_call
from airflow_provider_truto.client.errors import (
    TrutoAccountBlockedError,
    TrutoApiError,
    TrutoError,
    TrutoSandboxReadOnlyError,
    TrutoTransportError,
    api_error,
    is_remote_error,
    where,
)
from airflow_provider_truto.client.rate_limits import DEFAULT_WAIT, asked_wait
from airflow_provider_truto.client.redaction import shortened
from airflow_provider_truto.client.tokens import Token

#: 409 is permanent (a uniqueness conflict); 503 is retried only where the account is not blocked.
RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 504})
#: Answers that refuse without executing: the same key may get them for ever if Truto caches them.
REFUSALS = frozenset({425, 429})
_FIRST_BACKOFF = 1.0
_LONGEST_BACKOFF = 60.0


@dataclass(frozen=True, slots=True)
class Send:
    """Send the call under the token; the reply is an ``Answer`` or a ``NoAnswer``."""

    call: Call
    token: Token


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds; no reply.

    ``reason`` says how this call's last attempt ended; ``""`` where it waits for a place that other calls take up.
    """

    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CurrentToken:
    """The reply is the ``Token`` to send the call under."""

    call: Call


@dataclass(frozen=True, slots=True)
class NewToken:
    """Truto refused this token; the reply is another one for the call, or ``None`` where there is none."""

    call: Call
    refused: Token


@dataclass(frozen=True, slots=True)
class SaveSuffix:
    """Store durably the number that is about to follow the key, before it is sent; no reply."""

    suffix: int


Step = Send | Sleep | CurrentToken | NewToken | SaveSuffix


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The connection failed or the answer could not be read to its end. ``reason`` is one short line."""

    reason: str
    #: Whether repeating it may help; a certificate that does not fit stays so.
    transient: bool = True
    #: Whether the request can have gone out; false only where it is known that no connection came about.
    maybe_sent: bool = True


class Pacing(Protocol):
    """Who says when a call may begin; see ``pacing.Pace``."""

    def take(self, account: str | None) -> float:
        """Give 0 where the call may begin now, else the seconds after which to ask again."""

    def answered(self, account: str | None, *, answer: Answer, is_remote: bool) -> None:
        """Learn from an answer to a call that was let begin."""

    def lost(self, account: str | None) -> None:
        """Learn that a call that was let begin has ended without an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long to go on. ``max_wait`` is the sum of all waits in seconds."""

    max_attempts: int = 5
    max_wait: float = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A success, its parsed JSON, and what it cost: attempts and seconds waited.

    ``value`` is ``{}`` for an empty answer, bytes where the call takes any content and no JSON came, and ``None``
    for a streamed one; ``call`` is the one that succeeded, with the key it went out under at last. ``paced`` are
    seconds spent waiting for a place within the rate limits, which ``waited`` does not count. ``scrub`` takes the
    secrets of this call out of text.
    """

    answer: Answer
    value: Any = field(repr=False)
    call: Call
    attempts: int
    waited: float
    paced: float = 0.0
    scrub: Callable[[str], str] = field(default=str, repr=False)


def exchange(
    call: Call,
    *,
    patience: Patience,
    pace: Pacing,
    suffix: int = 1,
    can_save_suffix: bool = False,
    connection: str = "the connection",
    scrub: Callable[[Call, Token, str], str] = lambda _call, _token, text: text,
    now: Callable[[], float] = time.time,
    jitter: Callable[[], float] = random.random,
) -> Generator[Step, Any, Outcome]:
    """Bring one call to its end.

    Every attempt of a write repeats its ``Idempotency-Key``, with ``suffix`` where that is above 1. It advances
    (``…-2``) only where two refusals and nothing else came under it and ``can_save_suffix`` says that the driver can
    keep the number. Returns the outcome of a 2xx; raises the ``TrutoError`` of anything else, with ``attempts``,
    ``waited`` and ``idempotency_key``. ``connection`` is what errors call the one to mend. ``now`` is in seconds
    since the epoch, ``jitter`` in [0, 1).
    """
    state = _Run(call, patience, pace, suffix, can_save_suffix, connection, scrub, now, jitter)
    try:
        return (yield from state.steps())
    except TrutoError as error:
        error.attempts = state.attempts
        error.waited = state.waited
        error.idempotency_key = state.call.idempotency_key
        error.integrated_account_id = state.call.integrated_account_id or None
        raise


class _Run:
    """The state of one exchange."""

    def __init__(
        self,
        call: Call,
        patience: Patience,
        pace: Pacing,
        suffix: int,
        can_save_suffix: bool,
        connection: str,
        scrub: Callable[[Call, Token, str], str],
        now: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self.call = call
        self.attempts = 0
        self.waited = 0.0
        self.paced = 0.0
        self._patience = patience
        self._pace = pace
        self._can_save_suffix = can_save_suffix and call.idempotency_key is not None
        self._base_key = call.idempotency_key
        self._connection = connection
        self._scrub = scrub
        self._now = now
        self._jitter = jitter
        self._renewed = False
        self._in_doubt = False
        self._known_unblocked = False
        self._use_suffix(suffix)

    def steps(self) -> Generator[Step, Any, Outcome]:
        while True:
            # Before each attempt, since a wait may outlast a token's life.
            self._token: Token = yield CurrentToken(self.call)
            self.attempts += 1
            reply = yield from self._sent(self.call, self._token)
            if isinstance(reply, NoAnswer):
                yield from self._after_loss(reply)
            elif reply.ok:
                value = self._read(reply)
                if not isinstance(value, NoAnswer):
                    return Outcome(
                        answer=reply,
                        value=value,
                        call=self.call,
                        attempts=self.attempts,
                        waited=self.waited,
                        paced=self.paced,
                        scrub=self._scrubbed,
                    )
                yield from self._after_loss(value)
            elif not (yield from self._renewed_token(reply)):
                yield from self._refused(reply)

    def _sent(self, call: Call, token: Token) -> Generator[Step, Any, Answer | NoAnswer]:
        """Send as soon as the rate limits have a place, and tell them what came back."""
        account = call.integrated_account_id if call.is_data else None
        while seconds := self._pace.take(account):
            self.paced += seconds
            yield Sleep(seconds)
        reply: Answer | NoAnswer | None = None
        try:
            reply = yield Send(call, token)
            return reply
        finally:  # also where the driver gives the call up
            if isinstance(reply, Answer):
                is_remote = not reply.ok and is_remote_error(reply)
                self._pace.answered(account, answer=reply, is_remote=is_remote)
            else:
                self._pace.lost(account)

    def _after_loss(self, loss: NoAnswer) -> Generator[Step, Any, None]:
        """A request that can have gone out leaves a doubt: a write is repeated only under the key that it had."""
        self._in_doubt = self._in_doubt or loss.maybe_sent
        may_retry = loss.transient and (self._is_repeatable or not loss.maybe_sent)
        yield from self._wait_or_raise(self._lost(loss), None, may_retry=may_retry)

    @property
    def _is_repeatable(self) -> bool:
        return not self.call.is_write or self.call.idempotency_key is not None

    def _lost(self, loss: NoAnswer) -> TrutoTransportError:
        reason = shortened(self._scrubbed(loss.reason))
        doubt = self._doubt() if self.call.is_write else ""
        error = TrutoTransportError(f"{where(self.call)}: no usable answer after {self._tries()}: {reason}.{doubt}")
        error.transient = loss.transient
        error.maybe_sent = self._in_doubt
        return error

    def _doubt(self) -> str:
        """Say what is known of a write that got no answer."""
        if not self._in_doubt:
            return " Nothing was written: there was no connection that the request could have gone out on."
        doubt = " Whether the write happened is unknown."
        if self.call.idempotency_key is not None:
            doubt += (
                " A repeat under the same Idempotency-Key, such as a retry of the task, is executed at most once."
            )
        return doubt

    def _read(self, answer: Answer) -> Any:
        """Parse a 2xx, or say why not: a cut-off JSON is worth another try, a web page is not."""
        if self.call.streamed:
            return None
        if answer.body and not answer.claims_json:
            if self.call.any_content:
                return answer.body
            return NoAnswer(
                f"HTTP {answer.status} came as {answer.content_type}, not as JSON: something between here and"
                " Truto answered (a proxy, a login page), or the host is not Truto's",
                transient=False,
            )
        if (
            not answer.body
            and answer.status != 204
            and not {"content-length", "transfer-encoding"} & set(answer.headers)
        ):
            return NoAnswer(f"HTTP {answer.status} without a body and without a length: the answer was cut off")
        try:
            return answer.json()
        except ValueError as error:
            return NoAnswer(f"HTTP {answer.status} with a body that is not whole JSON ({error})")

    def _renewed_token(self, answer: Answer) -> Generator[Step, Any, bool]:
        """After a 401 of Truto itself, take a rotated token; once a call."""
        is_ours = answer.status == 401 and not is_remote_error(answer)
        if not is_ours or self._renewed:
            return False
        self._renewed = True
        return (yield NewToken(self.call, self._token)) is not None

    def _refused(self, answer: Answer) -> Generator[Step, Any, None]:
        """Wait for the next attempt, or raise what the answer means."""
        error = self._error(answer)
        may_retry = answer.status in RETRIED_STATUSES or (error.is_remote and answer.status >= 500)
        # A refusal executed nothing; after any other failure a write may have happened.
        may_retry = may_retry and (self._is_repeatable or answer.status in REFUSALS)
        if not error.is_remote:
            if answer.status == 503:
                error, is_passing = yield from self._of_maybe_blocked(answer, error)
                may_retry = is_passing and self._is_repeatable
            elif answer.status == 405 and self.call.is_write:
                error = yield from self._of_maybe_sandbox(answer, error)
        # Whatever is no refusal may have executed the write: another key could execute it once more.
        self._in_doubt = self._in_doubt or answer.status not in REFUSALS
        asked = error.retry_after
        if asked is None and answer.status == 429:
            asked = DEFAULT_WAIT
        yield from self._wait_or_raise(error, asked, may_retry=may_retry)
        if answer.status in REFUSALS:
            yield from self._maybe_advance_key()

    def _wait_or_raise(
        self, error: TrutoError, asked: float | None, *, may_retry: bool
    ) -> Generator[Step, Any, None]:
        """Sleep before the next attempt; a wait that does not fit is never shortened, it ends the call."""
        if not may_retry or self.attempts >= self._patience.max_attempts:
            raise error
        left = self._patience.max_wait - self.waited
        if asked is not None:
            seconds = asked
        else:
            ceiling = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** (self.attempts - 1))
            seconds = ceiling * (0.5 + 0.5 * self._jitter())
        if seconds > left:
            if isinstance(error, TrutoApiError):
                error.retry_after = seconds
            error.args = (f"{error} The next attempt would wait {seconds:.0f} s, {left:.0f} s are left of max_wait.",)
            raise error
        if asked is not None:
            # Spread those who were told the same moment; never come early.
            seconds = min(left, seconds + self._jitter())
        self.waited += seconds
        yield Sleep(seconds, reason=self._told_wait(error, seconds))

    def _told_wait(self, error: TrutoError, seconds: float) -> str:
        how = f"answered {error.status}" if isinstance(error, TrutoApiError) else "gave no usable answer"
        return (
            f"{self.call} integrated_account={self.call.integrated_account_id}: attempt {self.attempts} of"
            f" {self._patience.max_attempts} {how}; the next one comes in {seconds:.1f} s"
        )

    def _maybe_advance_key(self) -> Generator[Step, Any, None]:
        self._refusals += 1
        if self._can_save_suffix and self._refusals >= 2 and not self._in_doubt:
            yield SaveSuffix(self._suffix + 1)
            self._use_suffix(self._suffix + 1)

    def _use_suffix(self, suffix: int) -> None:
        self._suffix = suffix
        self._refusals = 0
        if suffix > 1:
            self.call = replace(self.call, idempotency_key=f"{self._base_key}-{suffix}")

    def _of_maybe_blocked(
        self, answer: Answer, error: TrutoApiError
    ) -> Generator[Step, Any, tuple[TrutoApiError, bool]]:
        """A 503 is permanent for a blocked account: ask the capabilities, once a call."""
        if self.call.integrated_account_id is None or self._known_unblocked:
            return error, True
        question = capabilities_call(integrated_account_id=self.call.integrated_account_id)
        found = yield from self._look_up(question)
        account = found.get("account") if isinstance(found, dict) else None
        blocked = account.get("is_blocked") if isinstance(account, dict) else None
        if blocked is True:
            return self._error(answer, TrutoAccountBlockedError), False
        if blocked is False:
            self._known_unblocked = True
            return error, True
        error.args = (f"{error} Whether the account is blocked could not be found out.",)
        return error, False

    def _of_maybe_sandbox(self, answer: Answer, error: TrutoApiError) -> Generator[Step, Any, TrutoApiError]:
        """A 405 on a write of a sandbox account has a remedy of its own: ask the account what it is."""
        if self.call.integrated_account_id is None:
            return error
        found = yield from self._look_up(integrated_account_call(self.call.integrated_account_id))
        if isinstance(found, dict) and found.get("is_sandbox") is True:
            return self._error(answer, TrutoSandboxReadOnlyError)
        return error

    def _look_up(self, question: Call) -> Generator[Step, Any, Any]:
        """GET something that explains an answer; ``None`` where that fails too."""
        reply = yield from self._sent(question, (yield CurrentToken(question)))
        if isinstance(reply, NoAnswer) or not reply.ok:
            return None
        try:
            return reply.json()
        except ValueError:
            return None

    def _error(self, answer: Answer, as_class: type[TrutoApiError] | None = None) -> TrutoApiError:
        return api_error(
            self.call,
            answer,
            retry_after=asked_wait(answer.headers, now=self._now(), status=answer.status),
            as_class=as_class,
            connection=self._connection,
            scrub=self._scrubbed,
        )

    def _scrubbed(self, text: str) -> str:
        return self._scrub(self.call, self._token, text)

    def _tries(self) -> str:
        return "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
