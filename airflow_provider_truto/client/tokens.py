"""Bearer tokens: kept where no ``repr``, log line or exception can show them."""

from __future__ import annotations

from collections.abc import Callable


class Token:
    """A secret that prints as ``***``; ``reveal()`` is called where the header is written, nowhere else.

    Raises ``ValueError`` for text that no header can carry.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError(
                "the API token holds spaces, line breaks or non-ASCII characters:"
                " copy it again from Truto's dashboard, without surrounding white space"
            )
        self._value = value

    def reveal(self) -> str:
        """Give the token's text."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Token(***)"


class ApiToken:
    """The API token of a connection, read again when Truto refuses it.

    ``reread`` gives the token that the connection holds now: tokens get rotated while a task runs.
    """

    def __init__(self, token: Token, *, reread: Callable[[], Token]) -> None:
        self._token = token
        self._reread = reread

    def current(self) -> Token:
        """Give the token that was read last."""
        return self._token

    def renewed(self, refused: Token) -> Token | None:
        """Read the connection again; ``None`` where it still holds the token that was refused."""
        if self._token == refused:
            self._token = self._reread()
        return self._token if self._token != refused else None

    def __repr__(self) -> str:
        return "ApiToken(***)"
