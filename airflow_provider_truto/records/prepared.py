"""The fast path of a bulk and of a hook: what the writes of one customer have in common is prepared once.

Most of them differ from their customer's first one only in id and body. If a quick check proves that such a body is
valid as it is, the record skips coercion and full validation. If the check is not sure, the record takes all steps of
``pipeline``, which say what is wrong with it: a check here may be too strict, but never too lenient.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Hashable
from typing import Any

from airflow_provider_truto.client.endpoints import CACHE_TTL
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.records.plain import write_valid_body
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.validate import ValidRequest, load_body_schema

#: Ids without any character that has a meaning in a URL's path.
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
#: Entries of a cache; each holds the first body of its kind.
_MOST_KEPT = 256


class PreparedWrites:
    """Updates or creates of one customer that are like ``request``, which was sent as ``sent``.

    ``request`` was valid: its account is known, and its schema is loaded. A schema from Truto is used for
    ``CACHE_TTL`` seconds, like every cached answer.
    """

    def __init__(self, request: RecordRequest, sent: Request) -> None:
        self._request = request
        self._sent = sent
        self._schema = load_body_schema(request)
        self._account = (request.integrated_account_id or "").lower()
        self._until = time.monotonic() + CACHE_TTL if request.is_schema_valid else math.inf

    @property
    def is_outdated(self) -> bool:
        """Whether its schema has to be asked for again."""
        return time.monotonic() > self._until

    def admit(self, record_id: str | None, body: Any) -> ValidRequest | None:
        """Return the checked write of another record, or ``None`` where it needs all steps of ``pipeline``."""
        if self.is_outdated or not self._is_plain_target(record_id):
            return None
        written = write_valid_body(body, self._schema)
        if written is None:
            return None
        request = self._request.replace(record_id=record_id, body=body)
        return ValidRequest(request=request, body=written, similar=self._sent)

    def _is_plain_target(self, record_id: str | None) -> bool:
        if record_id is None or self._request.record_id is None:
            return record_id is None and self._request.method == "create"
        if type(record_id) is not str or _PLAIN_ID.fullmatch(record_id) is None:
            return False
        return record_id.lower() != self._account


class PreparedCache:
    """What was prepared, by all that writes are asked for with but id and body; threads may share one.

    It holds for the settings that it was checked with: others may not allow the account.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[ClientSettings, PreparedWrites]] = {}

    def get(self, key: Hashable, settings: ClientSettings) -> PreparedWrites | None:
        """Return what was prepared for these writes; ``None`` where nothing was."""
        checked_with, prepared = self._kept.get(key, (None, None))
        return prepared if checked_with is settings else None

    def put(self, key: Hashable, settings: ClientSettings, prepared: PreparedWrites) -> None:
        """Keep what was prepared; all of it is dropped where it becomes too much."""
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[key] = settings, prepared
