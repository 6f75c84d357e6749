"""What an emulator in a process of its own can be told, as arguments of `argparse`."""

from __future__ import annotations

from typing import Any

from airflow_provider_truto.emulator.state.tokens import DEFAULT_LIFE

#: The flags of each argument, and its options.
OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--host",), {"default": "127.0.0.1", "help": "address to listen on (default: 127.0.0.1)"}),
    (("--port",), {"type": int, "default": 8765, "help": "0 takes a free one (default: 8765)"}),
    (
        ("--allow-host",),
        {
            "action": "append",
            "default": [],
            "metavar": "NAME",
            "help": "a name by which it may be called, beside localhost and its address; may be repeated",
        },
    ),
    (("--seed",), {"metavar": "FILE.json", "help": "accounts, records and tokens to start with"}),
    (("--rate-limits",), {"action": "store_true", "help": "enforce Truto's limits and those of the CRMs"}),
    (
        ("--account-token-life",),
        {
            "type": float,
            "default": DEFAULT_LIFE,
            "metavar": "SECONDS",
            "help": f"how long the token of an integrated account is good (default: {DEFAULT_LIFE:g})",
        },
    ),
    (("--quiet",), {"action": "store_true", "help": "do not report every call on stderr"}),
)
