"""What Dagster and boto3 read for each thing that they make, read once: it takes a twentieth of the tests of runs."""

from collections.abc import Iterator
from functools import cache

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from botocore.loaders import JSONFileLoader


@pytest.fixture(scope="session", autouse=True)
def read_once() -> Iterator[None]:
    """Migrations, of which a new database runs none, and descriptions of the services of AWS."""
    migrations, described = dict[object, ScriptDirectory](), cache(JSONFileLoader().load_file)
    read = ScriptDirectory.from_config

    def scripts(config: Config) -> ScriptDirectory:
        key = config.config_file_name, config.get_main_option("script_location")
        if key not in migrations:
            migrations[key] = read(config)
        return migrations[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", scripts)
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: described(path))
        yield
