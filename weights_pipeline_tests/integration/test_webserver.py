"""Dagster's web server behind the rules of access: what a writer and a reader of it get."""

import asyncio
import json

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext

from weights_pipeline.orchestration.webserver import Webserver
from weights_pipeline.ui import Access

WRITING, READING = "w" * 32, "r" * 32
CHANGE = 'mutation { setConcurrencyLimit(concurrencyKey: "k", limit: 2) }'
MAY = "{ permissions { permission value } }"


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with dg.DagsterInstance.from_config(str(configured(tmp_path_factory.mktemp("home")))) as instance:
        yield instance


def configured(home):
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return home


@pytest.fixture(scope="module")
def app(instance):
    tokens = {"WEIGHTS_UI_TOKEN": WRITING, "WEIGHTS_UI_READ_TOKEN": READING}
    rules = Access.from_environment(tokens, "http://127.0.0.1:3000", "127.0.0.1", 3000)
    with WorkspaceProcessContext(instance, None) as context:
        yield Webserver(context, rules).create_asgi_app()


def ask(app, token, query):
    sent = []
    headers = {"host": "127.0.0.1:3000", "content-type": "application/json", "authorization": f"Bearer {token}"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive():
        return {"type": "http.request", "body": json.dumps({"query": query}).encode(), "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body)


def test_a_reader_changes_nothing_and_is_shown_so(app, instance):
    may = ask(app, READING, MAY)[1]["data"]["permissions"]
    assert may
    assert not any(each["value"] for each in may)
    for change in (CHANGE, "query A { version } " + CHANGE.replace("mutation", "mutation B")):
        status, answer = ask(app, READING, change)
        assert (status, answer["errors"][0]["message"]) == (403, "you may read, and change nothing")
    assert "k" not in instance.event_log_storage.get_concurrency_keys()


def test_a_writer_does(app, instance):
    may = {each["permission"]: each["value"] for each in ask(app, WRITING, MAY)[1]["data"]["permissions"]}
    assert may["launch_pipeline_execution"]
    assert may["edit_concurrency_limit"]
    assert ask(app, WRITING, CHANGE)[0] == 200
    assert "k" in instance.event_log_storage.get_concurrency_keys()


def test_a_question_that_is_none_is_answered_by_dagster(app):
    status, answer = ask(app, READING, "{ nonsense")
    assert status == 400
    assert "Syntax Error" in answer["errors"][0]["message"]
