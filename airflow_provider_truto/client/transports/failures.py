"""Builds the failures of lost answers, in the same words for both transports."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from airflow_provider_truto.client.errors import TrutoTransportError
from airflow_provider_truto.client.redaction import shorten
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.settings import ClientSettings, strip_user
from airflow_provider_truto.client.transports.base import TransportFailure

#: OpenSSL's codes for what only a strict check minds, which Python asks for since 3.13: a CA without Key Usage, a
#: certificate without key identifiers and the like (X509_V_ERR_PATHLEN_INVALID_FOR_NON_CA to EC_KEY_EXPLICIT_PARAMS).
_STRICT_TLS = range(80, 95)


def build_connect_timeout(settings: ClientSettings) -> TransportFailure:
    """Build the failure of a connection that was not made in time."""
    return TransportFailure(
        f"no connection to {settings.origin.host} within {settings.connect_timeout:g} s", maybe_sent=False
    )


def build_read_timeout(settings: ClientSettings) -> TransportFailure:
    """Build the failure of a connection over which no answer came in time."""
    return TransportFailure(
        f"{settings.origin.host} did not answer within {settings.read_timeout:g} s ({settings.timeout_name})"
    )


def build_deadline_failure(settings: ClientSettings) -> TransportFailure:
    """Build the failure of an answer that was not complete at the attempt's deadline."""
    return TransportFailure(
        f"{settings.origin.host} gave no whole answer within {settings.deadline:g} s (the connection's deadline)"
    )


def build_interim_failure(status: int) -> TransportFailure:
    """Build the failure of an interim answer (1xx) that came instead of a final one, which is not waited for."""
    return TransportFailure(f"HTTP {status} is an interim answer, which nobody asked for")


def was_hung_up(cause: BaseException) -> bool:
    """Whether a TLS handshake failed because its peer closed it, and not because of what either wanted."""
    return isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or not isinstance(cause, ssl.SSLError)


def build_tls_failure(
    settings: ClientSettings, cause: BaseException, *, is_gone: bool, maybe_sent: bool
) -> TransportFailure:
    """Build the failure of a TLS handshake. A peer that closed it may come back; an untrusted one will not change."""
    failed = f"TLS with {settings.origin.host} failed"
    if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in _STRICT_TLS:
        reason = (
            f"{failed}: {cause.verify_message}, and Python 3.13 and later take no such certificate. Fix: have"
            " who made it (a company CA, a proxy that inspects TLS) issue a new one as RFC 5280 asks, and put it"
            " into ca_bundle; until then, workers on Python 3.12 or earlier take the old one"
        )
    else:
        hint = "" if is_gone else ". Fix: check the base URL and ca_bundle"
        reason = f"{failed} ({describe_error(cause)}){hint}"
    return TransportFailure(reason, transient=is_gone, maybe_sent=maybe_sent)


def build_proxy_failure(
    settings: ClientSettings, cause: BaseException, *, transient: bool = True
) -> TransportFailure:
    """Build the failure of a proxy that could not be reached or opened no tunnel: nothing was sent through it.

    Not ``transient`` for an unusable kind of proxy.
    """
    return TransportFailure(
        f"the proxy in front of {settings.origin.host} failed ({describe_error(cause)})",
        transient=transient,
        maybe_sent=False,
    )


def build_connection_failure(settings: ClientSettings, cause: BaseException, *, maybe_sent: bool) -> TransportFailure:
    """Build the failure of a connection that was refused, reset or closed, or over which no HTTP came."""
    return TransportFailure(
        f"the connection to {settings.origin.host} failed ({describe_error(cause)})", maybe_sent=maybe_sent
    )


def build_size_failure(settings: ClientSettings, status: int) -> TransportFailure:
    """Build the failure of an answer that is too large for memory."""
    return TransportFailure(
        f"HTTP {status} with a body of more than {settings.response_limit} bytes", transient=False
    )


def build_stream_error(request: Request, cause: BaseException, scrub: Callable[[str], str]) -> TrutoTransportError:
    """Make the error of a streamed answer that broke off: the request itself did succeed."""
    done = " The write itself was answered with success." if request.is_write else ""
    said = shorten(scrub(describe_error(cause)))
    return TrutoTransportError(f"{request.describe()}: the answer broke off while it was streamed: {said}.{done}")


def describe_error(error: BaseException) -> str:
    """Name an error in one short line."""
    # A proxy's URL, with its password, may be part of what a library says. It is scrubbed, and cut after that.
    return f"{type(error).__name__}: {strip_user(' '.join(str(error).split()))}"
