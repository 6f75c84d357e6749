"""What a unified resource is: its names, its fields and its methods."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_truto.emulator.state.fields import Field

READING = ("list", "get")
METHODS = (*READING, "create", "update", "delete")
_DOCS = "https://truto.one/docs/api-reference"


@dataclass(frozen=True)
class Resource:
    """A unified resource, with what the capabilities say of it.

    `native` is its name in every CRM, and so in the proxy API; `singular` is one of these.
    """

    model: str
    model_label: str
    name: str
    native: str
    singular: str
    description: str
    fields: tuple[Field, ...]
    methods: tuple[str, ...] = METHODS

    @property
    def key(self) -> str:
        """`crm/accounts`, as in a path."""
        return f"{self.model}/{self.name}"

    @property
    def docs_url(self) -> str:
        """The page about it."""
        return f"{_DOCS}/unified-{self.model}-api/{self.name}"
