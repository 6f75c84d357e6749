"""How to reach Truto: one checked value that clients are built from."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, get_args
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

DEFAULT_BASE_URL = "https://api.truto.one"
#: Under which token requests for data go out: the API token, or one that is minted for the integrated account.
DataAuth = Literal["api", "account"]
#: Above this many requests per second a limit no longer means anything.
FASTEST = 1e6
#: What requests can go through; socks needs the package PySocks beside it.
_PROXY_SCHEMES = frozenset({"http", "https", "socks4", "socks5", "socks5h"})


class Origin(NamedTuple):
    """Where a token may go: scheme, host and port, nothing looser."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Read the origin of a URL. Raises ``ValueError`` where it is not http(s) with a host."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{strip_user(url)!r} is not a http(s) URL")
        return cls(parts.scheme, parts.hostname.lower(), parts.port or (443 if parts.scheme == "https" else 80))

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine itself."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def strip_user(url: str) -> str:
    """Return a URL for a message: what stands before the host may be a password."""
    return re.sub(r"//[^/]*@", "//***@", url)


class Unpicklable:
    """Holds a secret, which must not leave the process: it cannot be pickled. A copy of it is itself."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} holds a secret and cannot be pickled: pass the connection's id instead"
        )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


@dataclass(frozen=True, kw_only=True)
class ClientSettings(Unpicklable):
    """Where and how to call. Times are in seconds.

    ``read_timeout`` bounds one silence, ``deadline`` one attempt in all; of a streamed answer only the head.
    ``max_attempts`` counts the first one; ``max_wait`` bounds the sum of a call's waits;
    ``response_limit`` is in bytes and does not bound streamed answers. ``proxy`` may hold a password, so it
    stays out of the ``repr``. Raises ``ValueError`` for a combination that cannot work or would send a
    token in the clear.
    """

    base_url: str = DEFAULT_BASE_URL
    user_agent: str = "airflow-provider-truto"
    #: What these settings, and their ``read_timeout``, are called in messages.
    name: str = "the connection"
    timeout_name: str = "the connection's timeout"
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    deadline: float = 300.0
    max_attempts: int = 5
    max_wait: float = 300.0
    verify_tls: bool = True
    ca_bundle: str | None = None
    proxy: str | None = None
    allow_http: bool = False
    hide_values: bool = False
    response_limit: int = 64 * 1024 * 1024
    data_auth: DataAuth = "api"
    #: Seconds after which a minted token is replaced; Truto's live for 15 minutes.
    account_token_life: float = 12 * 60.0
    #: ``None``: Truto's own tiers; 0: no pacing.
    requests_per_second: float | None = None
    integrated_account_id: str | None = None
    #: Lower case; empty allows any.
    allowed_integrated_accounts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        origin = self.origin
        if not origin.host.isascii():
            raise ValueError(f"the base URL's host {origin.host!r} must be written in ASCII (xn--…)")
        parts = urlsplit(self.base_url)
        if parts.query or parts.fragment:
            raise ValueError(f"the base URL {strip_user(self.base_url)!r} must not have a query or a fragment")
        if parts.username is not None:
            raise ValueError("the base URL must not hold a user or a password: the API token goes into the password")
        if origin.scheme == "http" and not (self.allow_http or origin.is_loopback):
            raise ValueError(
                f"refusing to send an API token over plain http to {origin.host}: use https,"
                " or set allow_http for a server that you run yourself"
            )
        if self.proxy:
            self._check_proxy()
        if self.ca_bundle and not Path(self.ca_bundle).exists():
            raise ValueError(f"ca_bundle: there is no file {self.ca_bundle!r}")
        self._check_limits()
        if self.data_auth not in get_args(DataAuth):
            raise ValueError(f"data_auth: expects one of {', '.join(get_args(DataAuth))}, got {self.data_auth!r}")
        if self.requests_per_second is not None and not 0 <= self.requests_per_second <= FASTEST:
            raise ValueError(f"requests_per_second: must be from 0 (no pacing) to {FASTEST:.0f}")

    def _check_limits(self) -> None:
        if self.read_timeout <= 0 or self.connect_timeout <= 0:
            raise ValueError("timeout: must be more than 0 seconds")
        if self.deadline <= 0:
            raise ValueError("deadline: must be more than 0 seconds")
        if self.max_attempts < 1:
            raise ValueError("max_attempts: must be at least 1 (the first attempt counts)")
        if self.max_wait < 0:
            raise ValueError("max_wait: must be 0 or more seconds")

    def _check_proxy(self) -> None:
        """Refuse what is not a proxy, in words that cannot show its password."""
        try:
            parts = urlsplit(self.proxy or "")
            is_right = (
                parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and (parts.port is None or parts.port > 0)
            )
        except ValueError:
            is_right = False
        # Whatever stands behind the port was most likely meant to be part of the password.
        rest = (self.proxy or "").partition("://")[2]
        if not is_right or re.search(r"[\s\\/?#]", rest.removesuffix("/")):
            raise ValueError(
                "proxy: expects a URL such as http://proxy:3128 or http://user:password@proxy:3128; in user and"
                " password, / # ? and \\ are written as %2F %23 %3F %5C"
            )

    def allows(self, integrated_account_id: Any) -> bool:
        """Whether requests may be about this integrated account."""
        allowed = self.allowed_integrated_accounts
        return not allowed or (isinstance(integrated_account_id, str) and integrated_account_id.lower() in allowed)

    @cached_property
    def origin(self) -> Origin:
        """The one origin that the token goes to."""
        return Origin.of(self.base_url)

    @property
    def server(self) -> str:
        """The base URL, written in one way: what tells one Truto from another."""
        scheme, host, port = self.origin
        bracketed = f"[{host}]" if ":" in host else host
        return f"{scheme}://{bracketed}:{port}{urlsplit(self.base_url).path.rstrip('/')}"

    def __repr__(self) -> str:
        return f"ClientSettings(base_url={self.base_url!r})"
