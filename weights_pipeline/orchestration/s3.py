"""Dagster's own tools for S3 with our clients: what steps say, kept in a bucket, and a resource for assets of others.

Scope: what is a subclass of ``dagster_aws``, which the extra ``aws`` brings. Not here: which stages have it
(``deploy/dagster.yaml``), and what a run started by hand shows on the terminal (``runs``).
"""

import os
from collections.abc import Mapping
from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_aws.s3 import S3Resource
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager
from pydantic import Field

from weights_pipeline import aws
from weights_pipeline.settings import Settings

_PATIENCE: dict[str, Any] = {"connect": 5, "answer": 30}
_OPTIONS = (
    "region_name",
    "endpoint_url",
    "verify",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
)


class S3Clients(S3Resource):
    """Clients of S3 as tables and ledgers have them: with time-outs, and without checksums that AWS alone reads."""

    max_attempts: int = Field(default=aws.ATTEMPTS, description="How often a request is made in all.")

    def get_client(self) -> Any:
        """A client.

        Raises
        ------
        weights_pipeline.aws.ServiceError
            None can be made of what is configured, or of the AWS_* variables and files.
        """
        given = {name: getattr(self, name) for name in _OPTIONS if getattr(self, name) is not None}
        return aws.client(
            "s3",
            attempts=self.max_attempts,
            profile=self.profile_name,
            signed=not self.use_unsigned_session,
            use_ssl=self.use_ssl,
            **_PATIENCE,
            **given,
        )


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
        self._s3_session = aws.client("s3", attempts=aws.ATTEMPTS, **_PATIENCE)

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Nothing: what differs between machines is in the environment."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """By the settings of the environment."""
        return cls(Settings.from_environment(os.environ), inst_data)
