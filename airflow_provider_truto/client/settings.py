"""How to reach Truto: one checked value that the drivers are built from."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

DEFAULT_BASE_URL = "https://api.truto.one"


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
            raise ValueError(f"{url!r} is not a http(s) URL")
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


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """Where and how to call. Times are in seconds.

    ``max_attempts`` counts the first one; ``max_wait`` bounds the sum of a call's waits;
    ``response_limit`` is in bytes and does not bound streamed answers. ``proxy`` may hold a password, so it
    stays out of the ``repr``. Raises ``ValueError`` for a combination that cannot work or would send a
    token in the clear.
    """

    base_url: str = DEFAULT_BASE_URL
    user_agent: str = "airflow-provider-truto"
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    max_attempts: int = 5
    max_wait: float = 300.0
    verify_tls: bool = True
    ca_bundle: str | None = None
    proxy: str | None = None
    allow_http: bool = False
    hide_values: bool = False
    response_limit: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        origin = self.origin
        if urlsplit(self.base_url).query or urlsplit(self.base_url).fragment:
            raise ValueError(f"the base URL {self.base_url!r} must not have a query or a fragment")
        if urlsplit(self.base_url).username is not None:
            raise ValueError("the base URL must not hold a user or a password: the API token goes into the password")
        if origin.scheme == "http" and not (self.allow_http or origin.is_loopback):
            raise ValueError(
                f"refusing to send an API token over plain http to {origin.host}: use https,"
                " or set allow_http for a server that you run yourself"
            )
        if self.ca_bundle and not Path(self.ca_bundle).exists():
            raise ValueError(f"ca_bundle: there is no file {self.ca_bundle!r}")
        if self.read_timeout <= 0 or self.connect_timeout <= 0:
            raise ValueError("timeout: must be more than 0 seconds")
        if self.max_attempts < 1:
            raise ValueError("max_attempts: must be at least 1 (the first attempt counts)")
        if self.max_wait < 0:
            raise ValueError("max_wait: must be 0 or more seconds")

    @property
    def origin(self) -> Origin:
        """The one origin that the token goes to."""
        return Origin.of(self.base_url)

    def __repr__(self) -> str:
        return f"ClientSettings(base_url={self.base_url!r})"
