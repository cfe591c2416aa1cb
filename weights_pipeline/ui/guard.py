"""The middleware that keeps the rules of access, before anything else sees a request.

Scope: refusing, logging in, and headers that browsers keep to. Not here: the rules (``access``).
"""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping
from http.cookies import SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from weights_pipeline.ui.access import COOKIE, LOGIN, Access, Role

ROLE = "weights_pipeline.role"
"""Key of a request's scope that holds the role of who sent it."""

_LOG = logging.getLogger(__name__)
_LONGEST = 4096
_HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FRAMES = "frame-ancestors 'none'; form-action 'self'"
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Weights: log in</title>
<style>body {{ font: 16px system-ui; margin: 20vh auto; max-width: 22rem }} input, button {{ font: inherit }}</style>
<h1>Weights</h1>
<p>{said}</p>
<form method="post" action="{login}">
<label>Token <input type="password" name="token" autocomplete="current-password" required autofocus></label>
<button>Log in</button>
</form>
</html>
"""


class Guard:
    """Answers what is not to be answered by an application, and passes on the rest with the role of who sent it.

    Parameters
    ----------
    app
        The application.
    access
        The rules.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers: dict[str, str] = {}
        for raw, value in scope["headers"]:
            name = raw.decode("latin-1").lower()
            # What stands twice is no name of anything: not of a server, and not of a person.
            headers[name] = ", ".join(filter(None, [headers.get(name), value.decode("latin-1")]))
        method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
        answer = await self._answer(scope, receive, method, headers)
        if answer is None:
            await self._app(scope, receive, _hardened(send))
        elif scope["type"] == "http":
            await answer(scope, receive, _hardened(send))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, method: str, headers: Mapping[str, str]) -> Response | None:
        """What is said in place of the application; None where it is the one to answer."""
        access, path = self._access, scope["path"]
        if refusal := access.refusal(method, path, scope["query_string"].decode("latin-1"), headers):
            _LOG.warning("%s %s is refused: %s", method, path, refusal.reason)
            return PlainTextResponse(refusal.reason, refusal.status)
        if access.token and path == LOGIN and method in ("GET", "POST"):
            return await self._login(receive) if method == "POST" else _form()
        role = access.role((scope.get("client") or ("",))[0], headers)
        if role is None:
            if access.token and method == "GET" and "text/html" in headers.get("accept", ""):
                return _form()
            return PlainTextResponse("say who you are: see WEIGHTS_UI_TOKEN in docs/deploy.md", 401)
        if not access.may(role, method, path):
            return PlainTextResponse("you may read, and change nothing", 403)
        scope[ROLE] = role
        return None

    async def _login(self, receive: Receive) -> Response:
        token = parse_qs((await _body(receive)).decode("latin-1")).get("token", [""])[0]
        if self._access.role_of(token) is None:
            _LOG.warning("a login with a token that is none is refused")
            return _form("That is none of the tokens.", 401)
        kept = SimpleCookie({COOKIE: self._access.cookie(token)})[COOKIE]
        for name, value in (("path", "/"), ("samesite", "Lax"), ("httponly", True), ("secure", self._access.secure)):
            kept[name] = value
        response = RedirectResponse("/", 303)
        response.headers["Set-Cookie"] = kept.OutputString()
        return response


async def _body(receive: Receive) -> bytes:
    """Body of a request, as far as it is a form that this server has given out."""
    found = b""
    while len(found) <= _LONGEST:
        message = await receive()
        found += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return found[:_LONGEST]


def _form(said: str = "Show the token that you were given.", status: int = 401) -> Response:
    response = HTMLResponse(_PAGE.format(said=html.escape(said), login=LOGIN), status)
    response.headers["Content-Security-Policy"] = f"default-src 'none'; style-src 'unsafe-inline'; {_FRAMES}"
    response.headers["Cache-Control"] = "no-store"
    return response


def _hardened(send: Send) -> Send:
    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            # Beside the application's own: a browser keeps to both.
            headers.append("Content-Security-Policy", _FRAMES)
        await send(message)

    return hardened


def reads_only(scope: Scope) -> bool:
    """Whether who sent a request may change nothing."""
    return scope.get(ROLE) is not Role.WRITER
