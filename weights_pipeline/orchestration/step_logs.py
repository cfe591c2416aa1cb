"""What steps say, kept in S3: of runs on any machine, and after the machine is gone.

Scope: Dagster's own keeper of step logs with our place and our client. Not here: which stages have it
(``deploy/dagster.yaml``), and what a run started by hand shows on the terminal (``runs``).
"""

import os
from collections.abc import Mapping
from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager

from weights_pipeline import aws
from weights_pipeline.settings import Settings


class S3StepLogs(S3ComputeLogManager):
    """Step logs where the settings say, encrypted as the tables are.

    The client is the one of the store: that of the class above waits a minute for each answer, and sends checksums in
    trailers, which hardly any service but AWS reads.
    """

    def __init__(self, settings: Settings, inst_data: ConfigurableClassData | None = None) -> None:
        bucket, _, prefix = settings.step_logs.removeprefix("s3://").partition("/")
        super().__init__(
            bucket,
            local_dir=str(settings.home / "storage"),
            inst_data=inst_data,
            prefix=prefix,
            upload_extra_args=aws.encryption(settings.sse),
        )
        self._s3_session = aws.client("s3", attempts=aws.ATTEMPTS, connect=5, answer=30)

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Nothing: what differs between machines is in the environment."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """By the settings of the environment."""
        return cls(Settings.from_environment(os.environ), inst_data)
