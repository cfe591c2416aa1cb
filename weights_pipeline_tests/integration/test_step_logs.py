"""What steps say is in the files of their run, as Dagster reads them, and no process is started for it."""

import sys

import dagster as dg
from dagster._core.execution import compute_logs

from weights_pipeline.orchestration.step_logs import StepLogs, in_files_alone


@dg.asset
def speaking() -> None:
    sys.stdout.write("said\n")
    sys.stderr.write("warned\n")


def test_what_a_step_says_is_in_the_files_of_its_run(tmp_path, monkeypatch):
    def never(*arguments, **_):
        raise AssertionError(arguments)

    with in_files_alone(dg.DagsterInstance.local_temp(str(tmp_path))) as instance:
        assert isinstance(instance.compute_log_manager, StepLogs)
        with monkeypatch.context() as patched:
            patched.setattr(compute_logs, "tail_to_stream", never)
            run_id = dg.materialize([speaking], instance=instance).run_id
        [captured] = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED).records
        file = captured.event_log_entry.dagster_event.logs_captured_data.file_key
    with dg.DagsterInstance.local_temp(str(tmp_path)) as stock:
        manager = stock.compute_log_manager
        assert not isinstance(manager, StepLogs)
        key = manager.build_log_key_for_run(run_id, file)
        found = manager.get_log_data(key)
        assert found.stdout == b"said\n"
        assert b"\nwarned\n" in b"\n" + found.stderr
        assert manager.is_capture_complete(key)


def test_an_instance_whose_logs_are_elsewhere_is_left_alone(tmp_path):
    none = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"compute_logs": none}) as instance:
        before = instance.compute_log_manager
        assert in_files_alone(instance).compute_log_manager is before
