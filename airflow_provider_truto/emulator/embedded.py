"""An emulator inside a test: a server in a thread, and its state within reach."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.emulator.http.faults import Fault
from airflow_provider_truto.emulator.state.seed import SeedSource
from airflow_provider_truto.emulator.state.state import State
from airflow_provider_truto.emulator.state.tokens import DEFAULT_LIFE

if TYPE_CHECKING:
    from typing_extensions import Self

    from airflow_provider_truto.emulator.http.server import Server


class Emulator:
    """A Truto on a free port of 127.0.0.1, for the time of a `with` block.

    `seed` is the path of a JSON file or a mapping (see `seed`). `rate_limits` turns the limits on; a mapping such as
    `{"account": {"requests": 5, "seconds": 0.2}}` also changes them. With `cache_refusals`, an
    `Idempotency-Key` also remembers the answers of calls that were never executed. `account_token_life` is for how
    many seconds the token of an integrated account is good; `state.account_token_life` changes it for later ones.
    Raises SeedError, and on entering ImportError where the extra `emulator` is not installed.
    """

    url: str
    """The base URL, once the block is entered."""

    def __init__(
        self,
        seed: SeedSource = None,
        *,
        rate_limits: bool | Mapping[str, Any] = False,
        cache_refusals: bool = False,
        account_token_life: float = DEFAULT_LIFE,
    ) -> None:
        self.state = State(
            seed,
            rate_limits=rate_limits,
            cache_refusals=cache_refusals,
            account_token_life=account_token_life,
        )

    def __enter__(self) -> Self:
        # uvicorn is imported here, so that naming this class in a conftest costs little.
        from airflow_provider_truto.emulator.http.server import Server, build_url, listen

        listener = listen("127.0.0.1", 0)
        self.url = build_url(listener)
        ready = threading.Event()
        self._server: Server = Server(self.state, on_ready=ready.set)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="truto-emulator", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    @property
    def token(self) -> str:
        """The first API token of the seed."""
        return self.state.first_token

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Every call that arrived, oldest first.

        Keys: method, target, path (decoded segments), query (decoded pairs), headers (lower-case; the token is
        replaced by `valid` or `unknown`), body (JSON or None), body_bytes, time (monotonic seconds), connection (its
        number) and token (`api`, `account:<id of the integrated account>` or None).
        """
        return self.state.list_requests()

    @property
    def executions(self) -> list[dict[str, Any]]:
        """Every call that reached a CRM, oldest first.

        Keys: method, path, integrated_account_id, record_id, body, idempotency_key, remote_query and time.
        """
        return self.state.list_executions()

    @property
    def mints(self) -> list[dict[str, Any]]:
        """Every token that was minted for an integrated account, oldest first.

        Keys: integrated_account_id and time (monotonic seconds).
        """
        return self.state.list_mints()

    @property
    def sync_runs(self) -> list[dict[str, Any]]:
        """Every sync job run that was started, oldest first, as it is now; those that are gone stay here.

        Keys: those of Truto's run, and is_stopped.
        """
        return self.state.list_sync_runs()

    def fault(self, **spec: Any) -> Fault:
        """Make later calls fail; the keys are those of `http.faults.Fault`. Raises ValueError."""
        return self.state.add_fault(spec)

    def change(self, **spec: Any) -> None:
        """Have a record change, now or after a while; the keys are those of `state.changes`. Raises ValueError."""
        self.state.add_change(spec)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self.state.clear_faults()

    def reset(self) -> None:
        """Go back to the seed: no requests, no executions, no faults, no remembered answers."""
        self.state.reset()
