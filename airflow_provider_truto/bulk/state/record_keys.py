"""Which record of which customer, as a number: a hash of 64 bits."""

from __future__ import annotations

import hashlib
import struct
from typing import Any, Literal

_unpack = struct.Struct("<q").unpack


class RecordKeys:
    """Makes the numbers of records, by their ids, and of what rows without an id are matched by."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], Any] = {}

    def make(self, account_id: str, kind: Literal["id", "match"], name: str) -> int:
        """Return the number of a record in a customer's CRM, or of a match key there."""
        hasher = self._accounts.get((account_id, kind))
        if hasher is None:
            hasher = hashlib.blake2b(f"{account_id.lower()}\0{kind}\0".encode(), digest_size=8)
            self._accounts[account_id, kind] = hasher
        hasher = hasher.copy()
        hasher.update(name.encode(errors="surrogatepass"))
        return to_number(hasher)


def to_number(hasher: Any) -> int:
    """Return a hash as a number that a database holds: 64 bits with a sign."""
    number: int = _unpack(hasher.digest())[0]
    return number
