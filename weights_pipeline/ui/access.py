"""Rules of access: which requests are the interface's own, and who sent them.

Scope: decisions on plain values. Not here: how a request travels (``guard``).

Dagster's web server starts runs for whoever can reach it, and every page that is open in an operator's browser can
reach a server on the same machine. A request is therefore answered only if

- its ``Host`` is a name of this server, else a foreign name that resolves to this machine would do (DNS rebinding), and
- its ``Origin`` and ``Sec-Fetch-Site``, which browsers add and pages cannot change, say that no foreign page sent it.

Programs send neither header and are let in: no page can make them ask. Who a request comes from is known by a token, or
by a header that a proxy sets after it has logged somebody in.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

COOKIE = "weights_ui"
LOGIN = "/login"
SHORTEST = 16
"""Characters that a token has at least."""

_TOKEN, _READING = "WEIGHTS_UI_TOKEN", "WEIGHTS_UI_READ_TOKEN"
_HEADER, _WRITERS, _PROXIES = "WEIGHTS_UI_USER_HEADER", "WEIGHTS_UI_WRITERS", "WEIGHTS_UI_PROXIES"
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9a-fA-F:]+\](:\d+)?")
_SAFE = ("GET", "HEAD", "OPTIONS")
_GRAPHQL = "/graphql"
_PORTS = {"http": 80, "https": 443}


class AccessError(ValueError):
    """A variable of access is not usable. The message names it, what was expected and what to do."""


class Role(enum.Enum):
    """What somebody may do."""

    WRITER = "writer"
    READER = "reader"


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered.

    Attributes
    ----------
    status
        Of HTTP.
    reason
        For a person.
    """

    status: int
    reason: str


@dataclass(frozen=True)
class Access:
    """Who may see and do what.

    Attributes
    ----------
    origins
        ``SCHEME://HOST[:PORT]`` under which this server is reached, without the port that the scheme has anyway.
    token, reading_token
        What a writer and a reader show; empty where there is none.
    user_header
        Header in lower case that holds the name of whoever a proxy has logged in; empty where no proxy does.
    writers
        Names of those who may write; all others read.
    proxies
        Addresses from which that header is believed.
    """

    origins: frozenset[str]
    token: str = ""
    reading_token: str = ""
    user_header: str = ""
    writers: frozenset[str] = frozenset()
    proxies: frozenset[str] = frozenset({"127.0.0.1", "::1"})

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], ui: str, host: str, port: int) -> Access:
        """Read and validate the rules.

        Parameters
        ----------
        environment
            Variables ``WEIGHTS_UI_*``, see docs/deploy.md.
        ui
            Address of the interface as people reach it.
        host, port
            Where the server listens.

        Raises
        ------
        AccessError
            A token is short, both tokens are the same, a header is named beside a token, an address of a proxy is none,
            or others than this machine can reach the server and nobody has to say who they are.
        """
        token, reading = environment.get(_TOKEN, ""), environment.get(_READING, "")
        for name, value in ((_TOKEN, token), (_READING, reading)):
            if value and (len(value) < SHORTEST or not value.isascii() or not value.isprintable() or " " in value):
                raise AccessError(
                    f"{name}: expected at least {SHORTEST} letters, digits and signs without spaces, such as "
                    f"`openssl rand -hex 32` prints; got {len(value)} characters"
                )
        if token and token == reading:
            raise AccessError(f"{_READING}: is the same as {_TOKEN}; whoever reads could write")
        if reading and not token:
            raise AccessError(f"{_READING} is set, {_TOKEN} is not: nobody could write; set both")
        header = environment.get(_HEADER, "").strip().lower()
        if header and token:
            raise AccessError(f"{_HEADER}, {_TOKEN}: set one of them; a proxy logs people in, or a token does")
        if header and not header.replace("-", "").isalnum():
            raise AccessError(f"{_HEADER}: expected the name of a header, such as X-Forwarded-User, got {header!r}")
        proxies = frozenset(environment.get(_PROXIES, "").split()) or cls.proxies
        for address in proxies:
            if _address(address) is None:
                raise AccessError(f"{_PROXIES}: expected IP addresses with spaces between, got {address!r}")
        here = _address(host)
        if not (token or header) and not (host == "localhost" or (here is not None and here.is_loopback)):
            raise AccessError(
                f"WEIGHTS_UI_HOST: others than this machine reach {host}, and whoever does could start runs. Set "
                f"{_TOKEN}, or {_HEADER} behind a proxy that logs people in, or listen on 127.0.0.1"
            )
        loopback = [f"http://{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
        return cls(
            origins=frozenset(filter(None, map(_origin, [ui, *loopback]))),
            token=token,
            reading_token=reading,
            user_header=header,
            writers=frozenset(environment.get(_WRITERS, "").split()),
            proxies=proxies,
        )

    @property
    def asks(self) -> bool:
        """Whether anybody has to say who they are."""
        return bool(self.token or self.user_header)

    @property
    def secure(self) -> bool:
        """Whether people reach this server by HTTPS, so that a cookie must not travel otherwise."""
        return any(origin.startswith("https:") for origin in self.origins)

    def refusal(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Refusal | None:
        """Why a request is not answered, whoever sent it; None where it is.

        Parameters
        ----------
        method
            Of HTTP, or ``WEBSOCKET``.
        path, query
            What is asked for.
        headers
            With names in lower case.
        """
        host = headers.get("host", "")
        named = [_origin(f"{scheme}://{host}") for scheme in _PORTS] if _HOST.fullmatch(host) else []
        if self.origins.isdisjoint(named):
            return Refusal(
                421, f"this server is not {host!r}; set WEIGHTS_UI to the address that people reach it under"
            )
        origin = headers.get("origin")
        if origin is not None and _origin(origin) not in self.origins:
            return Refusal(403, f"a page of {origin!r} may not ask this server")
        site, document = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-dest") == "document"
        if site not in ("same-origin", "none") and not (document and method == "GET" and path != _GRAPHQL):
            return Refusal(403, "a page of another origin may link to this server, and ask it for nothing")
        if path == _GRAPHQL and method in _SAFE and "query=" in query:
            return Refusal(405, "GraphQL is taken by POST alone")
        if path == _GRAPHQL and method == "POST" and not _is_json(headers.get("content-type", "")):
            return Refusal(415, "GraphQL is taken as application/json alone")
        return None

    def role(self, peer: str, headers: Mapping[str, str]) -> Role | None:
        """What whoever sent a request may do; None for somebody who is not known.

        Parameters
        ----------
        peer
            Address that the request comes from.
        headers
            With names in lower case.
        """
        if self.user_header:
            name = headers.get(self.user_header, "") if peer in self.proxies else ""
            return (Role.WRITER if name in self.writers else Role.READER) if name else None
        if not self.token:
            return Role.WRITER
        shown = headers.get("authorization", "")
        if shown.lower().startswith("bearer "):
            return self.role_of(shown[7:].strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        return self._matching(cookie.value, self.cookie) if cookie is not None else None

    def role_of(self, token: str) -> Role | None:
        """What whoever shows a token may do; None where it is not one of them."""
        return self._matching(token, str)

    @staticmethod
    def cookie(token: str) -> str:
        """What a browser keeps in place of a token, from which nobody finds the token."""
        return hmac.new(token.encode(), b"weights-pipeline interface", hashlib.sha256).hexdigest()

    def _matching(self, shown: str, kept: Callable[[str], str]) -> Role | None:
        for token, role in ((self.token, Role.WRITER), (self.reading_token, Role.READER)):
            if token and hmac.compare_digest(shown.encode(), kept(token).encode()):
                return role
        return None

    def may(self, role: Role, method: str, path: str) -> bool:
        """Whether somebody may send a request; what GraphQL asks for is looked at by who answers it."""
        return role is Role.WRITER or method in (*_SAFE, "WEBSOCKET") or path == _GRAPHQL


def credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Headers by which a program on the server's own machine is known to it, as a reader where there are readers."""
    token = environment.get(_READING) or environment.get(_TOKEN)
    header = environment.get(_HEADER)
    return ({"Authorization": f"Bearer {token}"} if token else {}) | ({header: "weights"} if header else {})


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _origin(address: str) -> str:
    """Scheme, host and port of an address, written one way; empty for what is none."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, _PORTS[parts.scheme]) else "")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
