"""Who may see and do what in the user interface: rules on plain values, and the middleware that keeps them."""

import asyncio
import json
import runpy
from itertools import product
from pathlib import Path

import pytest

from weights_pipeline.ui import ROLE, Access, AccessError, Guard, Role
from weights_pipeline.ui.access import credentials

UI, PORT = "https://weights.example.com", 3000
TOKEN, READING = "w" * 32, "r" * 32
JSON = {"content-type": "application/json"}


def access(host="127.0.0.1", **variables) -> Access:
    return Access.from_environment({f"WEIGHTS_UI_{k}": v for k, v in variables.items()}, UI, host, PORT)


def status(method, path, query="", /, **headers):
    named = {"host": "127.0.0.1:3000"} | {name.replace("_", "-"): value for name, value in headers.items()}
    refusal = access().refusal(method, path, query, named)
    return refusal.status if refusal else 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:3000", 200),
        ("localhost:3000", 200),
        ("LOCALHOST:3000", 200),
        ("[::1]:3000", 200),
        ("weights.example.com", 200),
        ("weights.example.com:443", 200),
        ("weights.example.com.", 421),
        ("weights.example.com:3000", 421),
        ("127.0.0.1", 421),
        ("127.0.0.1:3001", 421),
        ("hostile.example:3000", 421),
        ("127.0.0.1:3000/hostile.example", 421),
        ("hostile@127.0.0.1:3000", 421),
        ("127.0.0.1:3000, hostile.example", 421),
        ("127.0.0.1:99999999", 421),
        ("", 421),
    ],
)
def test_a_server_answers_to_its_own_names_alone(host, expected):
    assert status("GET", "/", host=host) == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:3000", 200),
        ("http://localhost:3000", 200),
        ("https://weights.example.com", 200),
        ("http://weights.example.com", 403),
        ("http://127.0.0.1:8080", 403),
        ("https://hostile.example", 403),
        ("https://weights.example.com.hostile.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/graphql"), ("WEBSOCKET", "/graphql"), ("GET", "/x.js")])
def test_what_a_page_of_others_sends_is_refused(origin, expected, method, path):
    assert status(method, path, origin=origin, **{"content_type": "application/json"}) == expected


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_others_may_link_and_do_nothing_else(site):
    assert status("GET", "/runs", sec_fetch_site=site, sec_fetch_dest="document") == 200
    assert status("GET", "/runs", sec_fetch_site=site, sec_fetch_dest="iframe") == 403
    assert status("GET", "/server_info", sec_fetch_site=site, sec_fetch_dest="empty") == 403
    assert status("GET", "/graphql", sec_fetch_site=site, sec_fetch_dest="document") == 403
    assert status("POST", "/report_asset_materialization/x", sec_fetch_site=site, sec_fetch_dest="document") == 403


def test_graphql_is_taken_by_post_and_as_json_alone():
    assert status("GET", "/graphql", "query=mutation%20%7Bx%7D") == 405
    assert status("GET", "/graphql") == 200, "the page to try it out"
    assert status("POST", "/graphql", content_type="application/json; charset=utf-8") == 200
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain; application/json",
    ):
        assert status("POST", "/graphql", content_type=kind) == 415
    assert status("POST", "/graphql") == 415


def test_without_anything_set_this_machine_alone_is_served_and_may_write():
    assert access().role("127.0.0.1", {}) is Role.WRITER
    for host in ("0.0.0.0", "192.168.1.7", "weights.example.com", "::"):
        with pytest.raises(AccessError, match=r"WEIGHTS_UI_HOST: others .* Set WEIGHTS_UI_TOKEN, or .*listen on 127"):
            access(host)
        assert access(host, TOKEN=TOKEN).asks


def test_a_token_says_who_writes_and_who_reads():
    asking = access(TOKEN=TOKEN, READ_TOKEN=READING)
    for token, role in ((TOKEN, Role.WRITER), (READING, Role.READER), ("x" * 32, None), ("", None), ("ü" * 16, None)):
        assert asking.role("127.0.0.1", {"authorization": f"Bearer {token}"}) is role
        assert asking.role("127.0.0.1", {"cookie": f"a=b; weights_ui={asking.cookie(token)}"}) is role
    assert asking.role("127.0.0.1", {}) is None
    assert asking.role("127.0.0.1", {"cookie": f"weights_ui={TOKEN}"}) is None, "a token itself is no cookie"
    assert asking.role("127.0.0.1", {"cookie": "weights_ui=\x00;;=["}) is None
    assert access(TOKEN=TOKEN).role("127.0.0.1", {"authorization": "Bearer "}) is None, "no second token is no token"


def test_a_proxy_says_who_somebody_is_and_nobody_else_does():
    asking = access("0.0.0.0", USER_HEADER="X-Forwarded-User", WRITERS="ann bob", PROXIES="10.0.0.1")
    for name, role in (("ann", Role.WRITER), ("carl", Role.READER), ("", None), ("carl, ann", Role.READER)):
        assert asking.role("10.0.0.1", {"x-forwarded-user": name}) is role
    assert asking.role("10.0.0.2", {"x-forwarded-user": "ann"}) is None
    assert asking.role("10.0.0.1", {"authorization": f"Bearer {TOKEN}"}) is None


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"TOKEN": "short"}, "WEIGHTS_UI_TOKEN: expected at least 16"),
        ({"TOKEN": "with space " * 3}, "WEIGHTS_UI_TOKEN: expected"),
        ({"TOKEN": TOKEN, "READ_TOKEN": TOKEN}, "WEIGHTS_UI_READ_TOKEN: is the same"),
        ({"READ_TOKEN": READING}, "nobody could write"),
        ({"TOKEN": TOKEN, "USER_HEADER": "X-User"}, "WEIGHTS_UI_USER_HEADER, WEIGHTS_UI_TOKEN: set one"),
        ({"USER_HEADER": "X User:"}, "WEIGHTS_UI_USER_HEADER: expected the name"),
        ({"USER_HEADER": "X-User", "PROXIES": "proxy.example"}, "WEIGHTS_UI_PROXIES: expected IP addresses"),
    ],
)
def test_rules_that_make_no_sense_are_refused_without_quoting_a_secret(variables, message):
    with pytest.raises(AccessError, match=message) as refused:
        access(**variables)
    assert TOKEN not in str(refused.value)
    assert "short" not in str(refused.value)


# --- The middleware


async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope[ROLE].value.encode()})


def ask(rules, method="GET", path="/", body=b"", client="127.0.0.1", **headers):
    """Status, headers and body of an answer."""
    sent = []
    pairs = {"host": "127.0.0.1:3000"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "client": (client, 1),
        "headers": [(name.encode(), value.encode()) for name, value in pairs.items()],
    }

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(application, rules)(scope, receive, send))
    start = sent[0]
    return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, sent[1]["body"].decode()


def test_whoever_logs_in_with_a_token_keeps_a_cookie_that_scripts_and_other_sites_do_not_get():
    rules = access(TOKEN=TOKEN, READ_TOKEN=READING)
    code, headers, page = ask(rules, accept="text/html")
    assert (code, headers["cache-control"]) == (401, "no-store")
    assert 'action="/login"' in page
    assert ask(rules)[0] == ask(rules, "POST", "/login", b"token=nonsense")[0] == 401
    code, headers, _ = ask(rules, "POST", "/login", f"token={READING}".encode())
    cookie, *attributes = headers["set-cookie"].split("; ")
    assert (code, headers["location"], {*attributes}) == (303, "/", {"HttpOnly", "Path=/", "SameSite=Lax", "Secure"})
    assert READING not in headers["set-cookie"]
    assert ask(rules, cookie=cookie)[::2] == (200, "reader")
    assert ask(rules, authorization=f"Bearer {TOKEN}")[::2] == (200, "writer")
    assert ask(rules, "POST", "/login", f"token={READING}".encode(), origin="https://hostile.example")[0] == 403
    assert ask(rules, "POST", "/login", b"token=" + b"x" * 100_000)[0] == 401


def test_a_reader_asks_questions_and_reports_nothing():
    rules = access(TOKEN=TOKEN, READ_TOKEN=READING)
    reader, writer = ({"authorization": f"Bearer {token}"} for token in (READING, TOKEN))
    for path in ("/report_asset_materialization/x", "/report_asset_check/x", "/anything"):
        assert ask(rules, "POST", path, **reader)[0] == 403
        assert ask(rules, "POST", path, **writer)[0] == 200
    assert ask(rules, "POST", "/graphql", json.dumps({}).encode(), content_type="application/json", **reader)[0] == 200


def test_every_answer_forbids_frames_and_what_browsers_do_by_themselves():
    for rules in (access(), access(TOKEN=TOKEN)):
        headers = ask(rules)[1]
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"


def test_a_header_that_stands_twice_is_no_name_of_a_person():
    rules, sent = access(USER_HEADER="X-User", WRITERS="ann"), []
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "client": ("127.0.0.1", 1)}
    scope["headers"] = [(b"host", b"localhost:3000"), (b"x-user", b"carl"), (b"X-User", b"ann")]

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(application, rules)(scope, None, send))
    assert sent[1]["body"] == b"reader"


def test_the_health_of_a_stage_is_asked_for_under_the_rules_of_the_interface():
    # A script that needs nothing but the standard library repeats them.
    login = runpy.run_path(str(Path(__file__).resolve().parents[3] / "deploy" / "health.py"))["_login"]
    for read, write, header in product(["", READING], ["", TOKEN], ["", "X-User"]):
        given = {"WEIGHTS_UI_READ_TOKEN": read, "WEIGHTS_UI_TOKEN": write, "WEIGHTS_UI_USER_HEADER": header}
        assert login(given) == credentials(given) | ({header: "health"} if header else {})
