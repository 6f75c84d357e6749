"""What the drivers on requests and aiohttp share: everything but waiting and I/O."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from airflow_provider_truto.client.answer import Answer
from airflow_provider_truto.client.call import Call
from airflow_provider_truto.client.errors import TrutoTransportError, where
from airflow_provider_truto.client.exchange import NoAnswer, Outcome, Patience, Step, exchange
from airflow_provider_truto.client.memory import Memory
from airflow_provider_truto.client.pacing import pace_for
from airflow_provider_truto.client.redaction import cleaned, environment_secrets, printable, scrubbed, shortened
from airflow_provider_truto.client.settings import ClientSettings, without_user
from airflow_provider_truto.client.tokens import AccountTokens, ApiToken, Owner, Token

#: Bytes read at a time. Older urllib3 unpacks such a piece whole, a thousandfold at worst: 16 MiB then.
CHUNK = 16 * 1024
#: Characters of a warning; names and words of a server may stand in it.
_LONGEST_WARNING = 4_000
#: OpenSSL's codes for what only a strict check minds, which Python asks for since 3.13: a CA without Key Usage, a
#: certificate without key identifiers and the like (X509_V_ERR_PATHLEN_INVALID_FOR_NON_CA to EC_KEY_EXPLICIT_PARAMS).
_STRICT_TLS = range(80, 95)
#: Shared by all clients of the process.
MEMORY = Memory()


class SuffixStore(Protocol):
    """Where the number behind an idempotency key outlives the process, e.g. Airflow's task state store."""

    @property
    def may_advance(self) -> bool:
        """Whether nothing that went out under the key before can have been executed."""

    def load(self) -> int:
        """Give the stored number, 1 where there is none."""

    def save(self, suffix: int) -> None:
        """Store the number durably before returning."""


def _ignore(_value: Any) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, kw_only=True)
class Observer:
    """Who is told of what the client does.

    ``called`` gets each finished exchange, ``warned`` a sentence, ``waits`` a sentence before each wait between two
    attempts, ``minted`` the text of a token that was minted, before anything goes out under it, so that it can be
    masked; for the driver on aiohttp it may give an awaitable.
    """

    called: Callable[[Outcome], None] = _ignore
    warned: Callable[[str], None] = _ignore
    waits: Callable[[str], None] = _ignore
    minted: Callable[[str], Any] = _ignore


class Driver:
    """The settings, tokens and limits of one connection."""

    def __init__(
        self, settings: ClientSettings, tokens: ApiToken, minted: AccountTokens, *, observer: Observer | None = None
    ) -> None:
        self.settings = settings
        self.tokens = tokens
        self.observer = observer or Observer()
        self._minted = minted

    def _exchange(self, call: Call, suffixes: SuffixStore | None) -> Generator[Step, Any, Outcome]:
        suffixes = suffixes if call.is_write else None
        settings = self.settings
        return exchange(
            call,
            patience=Patience(max_attempts=settings.max_attempts, max_wait=settings.max_wait),
            pace=pace_for(
                origin=settings.origin,
                token_digest=self.tokens.current().digest,
                requests_per_second=settings.requests_per_second,
            ),
            suffix=suffixes.load() if suffixes else 1,
            can_save_suffix=suffixes is not None and suffixes.may_advance,
            connection=settings.name,
            scrub=self._scrubbed,
        )

    def _scrubbed(self, call: Call, token: Token, text: str) -> str:
        """Take out of text whatever was secret of a call and its connection."""
        also = self._environment_secrets | {self.tokens.current().reveal()}
        return cleaned(scrubbed(text, call=call, token=token, settings=self.settings, also=also))

    @cached_property
    def _environment_secrets(self) -> frozenset[str]:
        return environment_secrets()

    def _warn(self, text: str) -> None:
        """Tell what a server may have had a say in."""
        self.observer.warned(printable(text[:_LONGEST_WARNING]))

    def _owner(self, call: Call) -> Owner | None:
        """Whose minted token the call goes out under; ``None`` for the API token."""
        if self.settings.data_auth != "account" or not call.is_data or call.integrated_account_id is None:
            return None
        return Owner(self.settings.origin, self.tokens.current(), call.integrated_account_id)

    def _minted_token(self, outcome: Outcome) -> Token:
        value = outcome.value
        text = value.get("integrated_account_token") if isinstance(value, dict) else None
        try:
            return Token(text if isinstance(text, str) else "")
        except ValueError:
            raise TrutoTransportError(
                f"{where(outcome.call)}: the answer holds no usable integrated_account_token"
            ) from None

    def _recalled(self, call: Call) -> Outcome | None:
        """Give an outcome out of the process's memory; its JSON is read anew, nobody shares it."""
        answer = MEMORY.recall(self._memory_key(call)) if call.fresh_for else None
        if answer is None:
            return None
        return Outcome(answer=answer, value=value_of(call, answer), call=call, attempts=0, waited=0.0)

    def _remembered(self, call: Call, outcome: Outcome) -> Outcome:
        if call.fresh_for and isinstance(outcome.value, (dict, bytes)):  # nothing else is a right answer
            MEMORY.keep(self._memory_key(call), outcome.answer, fresh_for=call.fresh_for)
        return outcome

    def _memory_key(self, call: Call) -> Hashable:
        return self.settings.base_url, self.tokens.current(), call.integrated_account_id, call.target


def value_of(call: Call, answer: Answer) -> Any:
    """Read the value of an answer that was read without fault before."""
    return answer.body if call.any_content and answer.body and not answer.claims_json else answer.json()


def request_headers(call: Call) -> dict[str, str]:
    """Give a call's own headers, beside those that go with every call."""
    headers = dict(call.headers)
    if (call.streamed or call.any_content) and "accept" not in map(str.lower, headers):
        headers["Accept"] = "*/*"
    if call.body is not None:
        headers["Content-Type"] = call.content_type
    if call.idempotency_key is not None:
        headers["Idempotency-Key"] = call.idempotency_key
    return headers


# --- what a lost answer is called, in the same words by both drivers


def connect_timeout(settings: ClientSettings) -> NoAnswer:
    """No connection in time."""
    return NoAnswer(
        f"no connection to {settings.origin.host} within {settings.connect_timeout:g} s", maybe_sent=False
    )


def read_timeout(settings: ClientSettings) -> NoAnswer:
    """A connection, but no answer in time."""
    return NoAnswer(
        f"{settings.origin.host} did not answer within {settings.read_timeout:g} s ({settings.timeout_name})"
    )


def deadline_passed(settings: ClientSettings) -> NoAnswer:
    """An answer that had not come to its end when the attempt had to."""
    return NoAnswer(
        f"{settings.origin.host} gave no whole answer within {settings.deadline:g} s (the connection's deadline)"
    )


def interim_answer(status: int) -> NoAnswer:
    """An interim answer in the place of the final one; what would follow it on the connection is not waited for."""
    return NoAnswer(f"HTTP {status} is an interim answer, which nobody asked for")


def tls_failure(settings: ClientSettings, cause: BaseException, *, is_gone: bool, maybe_sent: bool) -> NoAnswer:
    """TLS came to no end. A peer that went away may be back; one that is not trusted will not change."""
    failed = f"TLS with {settings.origin.host} failed"
    if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in _STRICT_TLS:
        reason = (
            f"{failed}: {cause.verify_message}, and Python 3.13 and later take no such certificate. What to do: have"
            " who made it (a company CA, a proxy that inspects TLS) issue it anew as RFC 5280 asks, and put that one"
            " into ca_bundle; until then, workers on Python 3.12 or earlier take the old one"
        )
    else:
        hint = "" if is_gone else ". What to do: check the base URL and ca_bundle"
        reason = f"{failed} ({sentence(cause)}){hint}"
    return NoAnswer(reason, transient=is_gone, maybe_sent=maybe_sent)


def proxy_failure(settings: ClientSettings, cause: BaseException, *, transient: bool = True) -> NoAnswer:
    """The proxy did not let the call through; not ``transient`` where it is of a kind that cannot be used."""
    return NoAnswer(
        f"the proxy in front of {settings.origin.host} failed ({sentence(cause)})",
        transient=transient,
        maybe_sent=False,
    )


def connection_failure(settings: ClientSettings, cause: BaseException, *, maybe_sent: bool) -> NoAnswer:
    """The connection was refused, reset or closed, or what came over it was no HTTP."""
    return NoAnswer(f"the connection to {settings.origin.host} failed ({sentence(cause)})", maybe_sent=maybe_sent)


def too_large(settings: ClientSettings, status: int) -> NoAnswer:
    """The answer is larger than what is held in memory."""
    return NoAnswer(f"HTTP {status} with a body of more than {settings.response_limit} bytes", transient=False)


def broken_stream(call: Call, cause: BaseException, scrub: Callable[[str], str]) -> TrutoTransportError:
    """Make the error of a streamed answer that broke off: the call itself did succeed."""
    done = " The write itself was answered with success." if call.is_write else ""
    said = shortened(scrub(sentence(cause)))
    return TrutoTransportError(f"{where(call)}: the answer broke off while it was streamed: {said}.{done}")


def sentence(error: BaseException) -> str:
    """Name an error in one short line."""
    # A proxy's URL, with its password, may be part of what a library says. It is scrubbed, and cut after that.
    return f"{type(error).__name__}: {without_user(' '.join(str(error).split()))}"
