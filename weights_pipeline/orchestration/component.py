"""A desk as a component, by which a bigger Dagster project takes it in with one file.

Scope: from the component's fields to the definitions of a workspace. Not here: the definitions (``definitions``).
"""

from __future__ import annotations

import os

import dagster as dg
from pydantic import Field

from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.settings import Settings, SettingsError
from weights_pipeline.workspace import Workspace


class Desk(dg.Component, dg.Model, dg.Resolvable):
    """A desk of weights-pipeline: its ledgers, books, checks, jobs, schedules and sensors.

    Books and ledgers stay in the desk's folder (``data/books``, ``data/ledgers``), the one source of truth. The command
    `weights new` makes such a folder. A code location takes in one desk.

    Examples
    --------
    ``defs/weights/defs.yaml`` of the project::

        type: weights_pipeline.Desk
        attributes:
          folder: ../../../my_desk
    """

    folder: str = Field(description="Folder of the desk, which holds `data`; relative to the file that names it.")
    home: str = Field(
        default=".home", description="Folder that the pipeline writes into; relative to the folder of the desk."
    )
    store: str = Field(
        default="", description="`s3://BUCKET/PREFIX` to keep all tables there; empty for a file in the home."
    )
    stage: str = Field(default="dev", description="Which overrides of the books apply: dev, staging or prod.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Definitions of the desk.

        Raises
        ------
        SettingsError
            There is no such folder or stage, or the stage lacks something.
        """
        folder = (context.path / self.folder).resolve()
        if not (folder / "data").is_dir():
            raise SettingsError(
                f"{context.path}: folder: {folder} holds no folder `data`; name the folder of a desk, as `weights new` "
                f"makes it, relative to {context.path}"
            )
        # What the file does not say, such as where weights are published, and what a stage has to have, is the
        # environment's as ever.
        own = {
            "WEIGHTS_DATA": str(folder / "data"),
            "WEIGHTS_HOME": str(folder / self.home),
            "WEIGHTS_STORE": self.store,
            "WEIGHTS_STAGE": self.stage,
        }
        return build_definitions(Workspace(Settings.from_environment({**os.environ, **own})))
