"""Removes secrets and control characters from what a server sent, with a bounded amount of work.

``scrub_secrets`` replaces what this connection knows to be secret, ``clean_text`` what looks like a secret, and
control characters, in any text; ``redact`` does both to a JSON-like value. Shorten a text only after that: half a
secret would not be found.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies

if TYPE_CHECKING:
    from airflow_provider_truto.client.request import Request
    from airflow_provider_truto.client.settings import ClientSettings
    from airflow_provider_truto.client.tokens import ApiToken, Token

#: Shorter values ("5", "IN") are not secrets and would tear unrelated words apart.
_SHORTEST_VALUE = 4
#: Characters of an answer that are looked at, all of its texts together.
MOST_TEXT = 64 * 1024
#: So much more is looked at and then dropped: it may end in half a secret.
_LONGEST_SECRET = 8 * 1024
#: Values of an answer that are looked at, and how deep.
_MOST_VALUES = 2_000
_DEEPEST = 50
_MARK = "***"

#: What is secret by the name of its key; case and punctuation do not count.
_SECRET_NAMES = (
    *("token", "authorization", "passw", "passphrase", "secret", "apikey", "accesskey", "privatekey"),
    *("credential", "cookie"),
)
#: The same within a text: a name, a sign, and the value in quotes or up to where it must end. Each part has an end,
#: and none can be read in two ways, so that no text takes more than one pass.
_NAME = r"(?:token|password|passwd|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|credential)"
_SIGN = r"""[\w-]{0,40}\\{0,3}["']?\s{0,4}[:=]\s{0,4}"""
_NAMED = re.compile(
    rf"""({_NAME}{_SIGN})(?:(\\{{0,3}}["'])[^"'\\]+|[^\s"'\\&,;<>{{}}\[\]]+)""",
    re.IGNORECASE,
)
#: Headers, whose value is the rest of the line.
_HEADER = re.compile(
    rf"""((?:authorization|cookie){_SIGN})(?:(\\{{0,3}}["'])[^"'\\]+|[^\r\n"'\\<>{{}}\[\]]+)""", re.IGNORECASE
)
#: Words that follow "bearer" in a sentence.
_WORDS = "auth|authentication|authorization|token|tokens|scheme|realm|error|is|was|and|or|not|of|type"
_BEARER = re.compile(rf"""\b(bearer)(\s{{1,8}}|%20)(?!(?:{_WORDS})\b)[^\s"'\\<>,;]+""", re.IGNORECASE)
_BASIC = re.compile(r"\b(basic)(\s{1,8}|%20)([A-Za-z0-9+/=_-]{4,})", re.IGNORECASE)
#: All but line ends and tabs: what moves a terminal's cursor, colours it, or turns the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")


def scrub_secrets(
    text: str, *, request: Request, token: Token, settings: ClientSettings, also: frozenset[str] = frozenset()
) -> str:
    """Replace our own secrets by ``***``, under ``hide_values`` also what the body holds.

    They are the token, the proxy's credentials, and what ``also`` has.
    """
    secrets = also | {token.reveal()}
    if settings.proxy:
        secrets |= _find_proxy_secrets(settings.proxy)
    text = _replace(text, _list_forms(secrets), _MARK)
    if settings.hide_values and request.body:
        text = _replace(text, _list_body_forms(request.body), "[hidden]")
    return text


def clean_text(text: str) -> str:
    """Replace what looks like a secret, and escape control characters. Idempotent."""
    text = _NAMED.sub(rf"\1\2{_MARK}", text)
    text = _HEADER.sub(rf"\1\2{_MARK}", text)
    text = _BEARER.sub(rf"\1\2{_MARK}", text)
    text = _BASIC.sub(lambda found: f"{found[1]}{found[2]}{_MARK}" if _is_encoded(found[3]) else found[0], text)
    return escape_controls(text)


def escape_controls(text: str) -> str:
    """Write control characters as escapes, but for line ends and tabs."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def redact(value: Any, scrub: Callable[[str], str] = str, *, most: int = MOST_TEXT) -> Any:
    """Return a JSON-like value without secrets: ``scrub`` is for those that are known, the others show by their keys.

    Of a very large value only the beginning is read and returned: ``most`` characters in all.
    """
    return _Walk(scrub, most).value(value)


def quote_line(value: Any, *, most: int, scrub: Callable[[str], str] = str) -> str:
    """Quote a value of a server's in a message, as one line of so many characters at most."""
    value = redact(value, scrub)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    # A lone surrogate, which JSON can spell, could not be written to a log file.
    return shorten(" ".join(text.split()).encode(errors="replace").decode(), most=most)


def shorten(text: str, *, most: int = 500) -> str:
    """Cut a text, visibly. What is secret in it must be gone: half a secret is not found any more."""
    return text if len(text) <= most else f"{text[:most]}…"


def find_environment_secrets() -> frozenset[str]:
    """Return the credentials of the proxies that the environment names."""
    return frozenset().union(*map(_find_proxy_secrets, getproxies().values()))


class Scrubber:
    """Takes the secrets of a connection and of a call out of text."""

    def __init__(self, settings: ClientSettings, tokens: ApiToken) -> None:
        self._settings = settings
        self._tokens = tokens

    def scrub(self, request: Request, token: Token, text: str) -> str:
        """Return a text without what was secret of a call that went out under a token."""
        also = self._environment_secrets | {self._tokens.current().reveal()}
        return clean_text(scrub_secrets(text, request=request, token=token, settings=self._settings, also=also))

    @cached_property
    def _environment_secrets(self) -> frozenset[str]:
        return find_environment_secrets()


class _Walk:
    """One walk through a value, with what is left of the text and values that may be looked at."""

    def __init__(self, scrub: Callable[[str], str], most: int) -> None:
        self._scrub = scrub
        self._text_left = most
        self._values_left = _MOST_VALUES

    def value(self, value: Any, depth: int = 0) -> Any:
        self._values_left -= 1
        if isinstance(value, str):
            return self.text(value, depth)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            text = _spell_number(value)
            clean = self._scrub(text)
            return value if clean == text else clean
        if not isinstance(value, (dict, list)):
            return value
        if depth == _DEEPEST or self.is_done:
            return "…"
        return self.object(value, depth) if isinstance(value, dict) else self.list(value, depth)

    def object(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        # A header may come as {"name": "Authorization", "value": …}.
        names_secret = any(_is_secret(value.get(key)) for key in ("name", "key"))
        result: dict[str, Any] = {}
        for key, item in value.items():
            if self.is_done:
                result["…"] = "…"
                break
            is_secret = _is_secret(key) or (names_secret and key == "value")
            is_secret = is_secret and item is not None and not isinstance(item, bool)
            result[self.text(str(key), _DEEPEST)] = _MARK if is_secret else self.value(item, depth + 1)
        return result

    def list(self, value: list[Any], depth: int) -> list[Any]:
        result: list[Any] = []
        for item in value:
            if self.is_done:
                return [*result, "…"]
            result.append(self.value(item, depth + 1))
        return result

    def text(self, text: str, depth: int) -> str:
        """Redact a text; one that is JSON like what it says."""
        if text[:1] in {"{", "["} and depth < _DEEPEST and len(text) <= self._text_left:
            try:
                parsed = json.loads(text)
            except (ValueError, RecursionError):
                pass
            else:
                clean = self.value(parsed, depth + 1)
                if clean != parsed:
                    return json.dumps(clean, ensure_ascii=False)
        most = max(self._text_left, 0)
        length = len(text)
        text = text[: most + _LONGEST_SECRET]
        self._text_left -= len(text)
        text = clean_text(self._scrub(text))
        if length <= most:
            return text
        end = most if length <= most + _LONGEST_SECRET else min(most, len(text) - _LONGEST_SECRET)
        return f"{text[: max(end, 0)]}…"

    @property
    def is_done(self) -> bool:
        return self._values_left <= 0 or self._text_left <= 0


def _spell_number(value: float) -> str:
    try:
        return str(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "…"


def _is_secret(name: Any) -> bool:
    folded = re.sub(r"[\W_]", "", name[:200]).lower() if isinstance(name, str) else ""
    return any(part in folded for part in _SECRET_NAMES)


def _is_encoded(word: str) -> bool:
    """Whether a word is base64 rather than one of a sentence: ``Basic dXNlcjpw``, not ``Basic plan``."""
    return any(letter.isdigit() or letter == "=" for letter in word) or any(map(str.isupper, word[1:]))


def _find_proxy_secrets(url: str) -> frozenset[str]:
    try:
        parts = urlsplit(url)
        user, password = parts.username or "", parts.password
    except ValueError:  # a variable of the environment, by which nothing can be reached
        return frozenset()
    if password is None:
        return frozenset({user, unquote(user)} - {""})
    pairs = {f"{user}:{password}", f"{unquote(user)}:{unquote(password)}"}
    encoded = {b64encode(pair.encode(charset, "replace")) for pair in pairs for charset in ("latin-1", "utf-8")}
    return frozenset({password, unquote(password), *(code.decode().rstrip("=") for code in encoded)} - {""})


def _replace(text: str, forms: Iterable[str], mark: str) -> str:
    folded = text.lower()
    for form in forms:
        if form.lower() in folded:
            text = re.sub(re.escape(form), mark, text, flags=re.IGNORECASE)
            folded = text.lower()
    return text


@lru_cache(maxsize=4)
def _list_forms(values: frozenset[str]) -> list[str]:
    """List how values may be spelled; the longest first, or a part of one would leave the rest of it standing."""
    forms = {form for value in values for form in (value, quote(value, safe=""), *_spell_as_json(value))}
    return sorted(forms, key=len, reverse=True)


@lru_cache(maxsize=1)  # one answer is scrubbed text by text
def _list_body_forms(body: bytes) -> list[str]:
    try:
        return _list_forms(frozenset(_iterate_values(json.loads(body))))
    except ValueError:  # a custom call's body is whatever the caller gave: all of it is one value
        return _list_forms(frozenset(_iterate_values(body.decode(errors="replace"))))


def _spell_as_json(value: str) -> tuple[str, str]:
    return json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]


def _iterate_values(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _iterate_values(item)
    elif isinstance(value, list):
        for item in value:
            yield from _iterate_values(item)
    elif not isinstance(value, bool) and value is not None and len(str(value)) >= _SHORTEST_VALUE:
        yield str(value)
