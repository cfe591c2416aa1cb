"""Dagster's user interface behind the rules of access.

Scope: serving it. Not here: the rules (``ui``), and the processes beside it (``cli.commands.ui``, ``deploy/start``).
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from weights_pipeline.settings import Settings, SettingsError
from weights_pipeline.ui import Access, AccessError, Guard
from weights_pipeline.ui.guard import reads_only


class Webserver(DagsterWebserver[WorkspaceProcessContext, WorkspaceRequestContext]):
    """Dagster's web server, which only those see and use who may.

    Parameters
    ----------
    process_context
        The instance and the code locations.
    access
        Who may.
    """

    def __init__(self, process_context: WorkspaceProcessContext, access: Access) -> None:
        super().__init__(process_context)
        self._access = access

    def build_middleware(self) -> list[Middleware]:
        """The guard, before all others."""
        return [Middleware(Guard, access=self._access), *super().build_middleware()]

    def _make_request_context(self, conn: HTTPConnection) -> WorkspaceRequestContext:
        process = self._process_context
        return WorkspaceRequestContext(
            instance=process.instance,
            current_workspace=process.get_current_workspace(),
            process_context=process,
            version=process.version,
            source=conn,
            read_only=reads_only(conn.scope),
        )

    async def gen_graphql_response(
        self,
        request_context: WorkspaceRequestContext,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> JSONResponse:
        """Answer a question; whoever may only read asks for no change, whichever it is."""
        if request_context.read_only and _changes(query):
            problem = {"data": None, "errors": [{"message": "you may read, and change nothing"}]}
            return JSONResponse(problem, status_code=403)
        return await super().gen_graphql_response(request_context, query, variables, operation_name)


def _changes(query: str) -> bool:
    try:
        document = parse(query)
    except GraphQLError:
        return False  # and who answers says what is wrong with it
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return any(each.operation is OperationType.MUTATION for each in operations)


def serve(workspace: Path, access: Access, host: str, port: int) -> None:
    """Serve the interface until this process is told to stop.

    Parameters
    ----------
    workspace
        A workspace file of Dagster.
    access
        Who may see and do what.
    host, port
        Where it listens.
    """
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.get())
        # The pools of a server that runs for long, with the figures that Dagster's own command has.
        instance.optimize_for_webserver(15_000, 3600, 20)
        target = WorkspaceFileTarget([str(workspace)])
        context = stack.enter_context(WorkspaceProcessContext(instance, target, version=__version__))
        app = Webserver(context, access).create_asgi_app()
        # Headers of a proxy are read by the guard alone, and from a proxy alone.
        uvicorn.run(app, host=host, port=port, log_level="warning", proxy_headers=False, server_header=False)


def main() -> None:
    """Serve the interface: ``python -m weights_pipeline.orchestration.webserver -w FILE -h HOST -p PORT``."""
    parser = argparse.ArgumentParser(prog="weights_pipeline.orchestration.webserver", add_help=False)
    parser.add_argument("-w", dest="workspace", type=Path, required=True)
    parser.add_argument("-h", dest="host", required=True)
    parser.add_argument("-p", dest="port", type=int, required=True)
    options = parser.parse_args()
    try:
        settings = Settings.from_environment(os.environ)
        access = Access.from_environment(os.environ, settings.ui, options.host, options.port)
    except (SettingsError, AccessError) as error:
        sys.exit(str(error))
    serve(options.workspace, access, options.host, options.port)


if __name__ == "__main__":
    main()
