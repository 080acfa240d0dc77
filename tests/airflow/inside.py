"""Run by Airflow's own Python: does what it is asked, a line of JSON each, and answers in one.

`python inside.py FD` reads requests from stdin and answers on that file descriptor; all else is log.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DAGS = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])


def parse() -> dict[str, Any]:
    """What each DAG file defines, how long it computed for that, and what it imported of ours."""
    from airflow.dag_processing.dagbag import DagBag

    found: dict[str, Any] = {}
    for path in sorted(DAGS.glob("*.py")):
        if path.stem == "dags_of_tests":
            continue
        before, began = set(sys.modules), time.thread_time()
        bag = DagBag(str(path))
        seconds = time.thread_time() - began
        ours = sorted(name for name in set(sys.modules) - before if name.startswith("pipeline_core"))
        dags = {name: shape(dag) for name, dag in bag.dags.items()}
        found[path.stem] = {"errors": bag.import_errors, "seconds": seconds, "ours": ours, "dags": dags}
    return found


def shape(dag: Any) -> dict[str, Any]:
    """What a DAG promises."""
    tasks = {
        task.task_id: {
            "downstream": sorted(task.downstream_task_ids),
            "retries": task.retries,
            "timeout": task.execution_timeout.total_seconds() if task.execution_timeout else None,
            "outlets": sorted(asset.name for asset in task.outlets),
            "function": task.python_callable.__name__,
        }
        for task in dag.tasks
    }
    facts = {"tags": sorted(dag.tags), "doc": dag.doc_md, "params": dict(dag.params.dump()), "catchup": dag.catchup}
    return {**facts, "schedule": dag.schedule, "max_active_runs": dag.max_active_runs, "tasks": tasks}


def run(dag: str, conf: dict[str, Any], connections: Mapping[str, Any]) -> dict[str, Any]:
    """`dag.test()`: how the run and its tasks ended, and what they returned."""
    with connected(connections):
        # One that fails is not to be waited for.
        for task in dags()[dag].tasks:
            task.retries = 0
        ended = dags()[dag].test(run_conf=conf)
    tasks = {ti.task_id: str(ti.state) for ti in ended.get_task_instances()}
    return {"state": str(ended.state), "tasks": tasks, "returned": returned(ended.run_id)}


def supervise(dag: str, task: str, run_id: str, conf: dict[str, Any], connections: Mapping[str, Any]) -> dict[str, Any]:
    """A try of one task under Airflow's own supervisor, in a process of its own that gets our SIGTERM from it."""
    from airflow.executors.workloads import BundleInfo
    from airflow.sdk.api.datamodels._generated import TaskInstance
    from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, supervise_task
    from airflow.utils.state import TaskInstanceState

    with connected(connections):
        instance = queued(dag, task, run_id, conf)
        given = TaskInstance(
            id=instance.id,
            task_id=task,
            dag_id=dag,
            run_id=instance.run_id,
            try_number=instance.try_number,
            map_index=-1,
            dag_version_id=instance.dag_version_id,
        )
        supervise_task(
            ti=given,
            bundle_info=BundleInfo(name="dags-folder"),
            dag_rel_path=Path(dags()[dag].fileloc).relative_to(DAGS),
            token="",
            client=InProcessTestSupervisor._api_client(dags()[dag]),  # noqa: SLF001 - there is no other without a server
            subprocess_logs_to_stdout=True,
        )
    instance.refresh_from_db()
    state = TaskInstanceState(instance.state).value
    return {"state": state, "tries": instance.try_number, "returned": returned(instance.run_id)}


def settings(pipeline: str, conn_ids: dict[str, str], given: dict[str, Any], connections: Any) -> dict[str, Any]:
    """The engine's document that connections lead to, or the error; and what a log shows of its secrets."""
    from airflow.sdk.log import redact

    from pipeline_core.airflow.hooks import PipelineHook
    from pipeline_core.exceptions import SettingsError

    with connected(connections):
        try:
            with PipelineHook(pipeline, conn_ids).configured(**given) as config:
                document = json.loads(config.document())
                key = (document.get("store") or {}).get("gcs_credentials_path")
                held = {"mode": oct(Path(key).stat().st_mode), "text": Path(key).read_text()} if key else None
        except SettingsError as error:
            return {"error": str(error)}
    gone = not Path(key).exists() if key else None
    return {"document": document, "key": held, "is_gone": gone, "logged": redact(json.dumps(document))}


@contextmanager
def connected(connections: Mapping[str, Any]) -> Iterator[None]:
    """Airflow connections, as the environment has them."""
    names = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}
    os.environ.update(names)
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]


@cache
def dags() -> dict[str, Any]:
    """All DAGs of the folder."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(DAGS)).dags


def queued(dag: str, task: str, run_id: str, conf: dict[str, Any]) -> Any:
    """A task instance of a run, which is made with the first, queued for its next try as a scheduler does it."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.models.dagrun import DagRun, get_or_create_dagrun
    from airflow.sdk import timezone
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType

    manager = DagBundlesManager()
    with create_session() as session:
        manager.sync_bundles_to_db(session=session)
    [bundle] = manager.get_all_dag_bundles()
    bundle.initialize()
    bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    sync_bag_to_db(bag, bundle.name, bundle.version)
    with create_session() as session:
        known = session.query(DagRun).filter(DagRun.dag_id == dag, DagRun.run_id == run_id).one_or_none()
        now = timezone.utcnow()
        run = known or get_or_create_dagrun(
            dag=DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dags()[dag])),
            run_id=run_id,
            logical_date=now,
            data_interval=(now, now),
            run_after=now,
            start_date=now,
            conf=conf,
            triggered_by=DagRunTriggeredByType.TEST,
            triggering_user_name="test",
            session=session,
        )
        run.conf = conf
        instance = run.get_task_instance(task, session=session)
        instance.try_number += 1
        instance.state = TaskInstanceState.QUEUED
        session.merge(instance)
        session.commit()
        return run.get_task_instance(task, session=session)


def returned(run_id: str) -> dict[str, Any]:
    """What the tasks of a run left in XCom."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.query(XComModel).filter(XComModel.run_id == run_id, XComModel.key == "return_value").all()
        return {row.task_id: XComModel.deserialize_value(row) for row in rows}


def main() -> None:
    """Answer until there are no more requests."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with os.fdopen(int(sys.argv[1]), "w") as answers:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = {"ok": globals()[request.pop("do")](**request)}
            except BaseException:  # noqa: BLE001 - told to the test
                answer = {"failed": traceback.format_exc()}
            answers.write(json.dumps(answer, default=str) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
