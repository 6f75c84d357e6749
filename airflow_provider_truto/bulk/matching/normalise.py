"""What makes two spellings of a website, an e-mail address or a text one value. Pure functions.

Each returns ``None`` for a text that is not such a value: nothing is found by it.
"""

from __future__ import annotations

import re
import unicodedata

#: Sites on which many companies have a page of their own each: there, the path says whose it is.
SHARED_SITES = frozenset(
    {
        "about.me",
        "facebook.com",
        "github.com",
        "instagram.com",
        "linkedin.com",
        "linktr.ee",
        "medium.com",
        "sites.google.com",
        "tiktok.com",
        "twitter.com",
        "x.com",
        "youtube.com",
    }
)
_SCHEME = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//|https?:/*", re.IGNORECASE)
_LABEL = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?")
_PUNYCODE = "xn--"


def normalise_domain(text: str) -> str | None:
    """Return the domain of a website: ``acme.com`` for ``https://WWW.Acme.com.:443/about?x#y``.

    Without scheme, credentials, port, path, ``www.`` and a trailing dot, in lower case, and in Unicode where it is
    written in punycode. On ``SHARED_SITES`` the path is kept. A name without a dot is not a domain.
    """
    text = unicodedata.normalize("NFKC", text).strip()
    address = _SCHEME.sub("", text, count=1) if _SCHEME.match(text) else text
    authority, path = re.match(r"([^/?#\\]*)([^?#]*)", address).groups()  # type: ignore[union-attr]  # it always matches
    host = _normalise_host(re.sub(r":\d*$", "", authority.rpartition("@")[2]))
    if host is None:
        return None
    host = _drop_www(host)
    if host in SHARED_SITES:
        return "/".join([host, *filter(None, path.casefold().split("/"))])
    return host


def normalise_email(text: str) -> str | None:
    """Return an e-mail address in lower case, out of ``Ada <mailto:Ada@Example.com>`` as well."""
    text = unicodedata.normalize("NFKC", text).strip()
    if text.endswith(">") and "<" in text:
        text = text[text.rindex("<") + 1 : -1]
    local, _, domain = re.sub("^mailto:", "", text.strip(), flags=re.IGNORECASE).rpartition("@")
    host = _normalise_host(domain)
    if not local or host is None or re.search(r"[\s@]", local):
        return None
    return f"{local.lower()}@{host}"


def normalise_text(text: str) -> str | None:
    """Return a text case-folded, without space around it, and with one space for each run of space within it."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split()) or None


def _normalise_host(host: str) -> str | None:
    labels = host.replace("。", ".").removesuffix(".").lower().split(".")
    decoded = [_decode_label(label) for label in labels]
    if len(decoded) < 2 or not all(label is not None and _LABEL.fullmatch(label) for label in decoded):
        return None
    return ".".join(filter(None, decoded))


def _decode_label(label: str) -> str | None:
    """Return a label in Unicode, in lower case. Not case-folded: ``straße.de`` and ``strasse.de`` are two domains."""
    if not label.startswith(_PUNYCODE):
        return unicodedata.normalize("NFC", label)
    try:
        return unicodedata.normalize("NFC", label.removeprefix(_PUNYCODE).encode("ascii").decode("punycode")).lower()
    except UnicodeError:
        return None


def _drop_www(host: str) -> str:
    rest = host.removeprefix("www.")
    return rest if "." in rest else host
