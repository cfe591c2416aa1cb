"""What steps say, in the files of their run alone.

Scope: runs in this process, whose log is on this machine. Not here: where logs are, which the instance says.

Dagster starts two processes for each stream that it captures, of which one shows on the terminal what is captured and
the other sees to its end. Nobody looks there, and four of them cost a run more than its weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import dagster as dg
from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._utils import ensure_file, touch_file


class StepLogs(LocalComputeLogManager):
    """Logs in the folder of a Dagster home, as Dagster's own class keeps and reads them."""

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Let what this process writes go to the files of a key."""
        with ExitStack() as captured:
            for kind, stream in ((ComputeIOType.STDOUT, sys.stdout), (ComputeIOType.STDERR, sys.stderr)):
                ensure_file(path := self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]))
                captured.enter_context(redirect_to_file(stream, path))
            yield CapturedLogContext(log_key)
        # Tells those who read that there is no more to come.
        complete: Callable[[Sequence[str]], str] = self.complete_artifact_path
        touch_file(complete(log_key))


def in_files_alone(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """Let an instance capture so, where its logs are on this machine alone; the same instance."""
    if instance.is_ephemeral:
        return instance
    local = instance.get_ref().compute_logs_data.class_name == LocalComputeLogManager.__name__
    if local and isinstance(stock := instance.compute_log_manager, LocalComputeLogManager):
        instance._compute_log_manager = StepLogs(stock._base_dir, stock.polling_timeout, stock.inst_data)
        instance._compute_log_manager.register_instance(instance)
    return instance
