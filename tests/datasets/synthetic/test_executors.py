"""The same bytes whoever does the work: this process, local processes, Ray; and what becomes of tasks that fail."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys

import pytest

from molgen.atomic_files import sha256
from molgen.errors import MolgenError, UsageError
from molgen_datasets.synthetic import create, draw_table, release
from molgen_datasets.synthetic.executors import Attempts, Processes
from molgen_datasets.synthetic.folder import write_json
from molgen_datasets.synthetic.recipe import recipe_from
from molgen_datasets.synthetic.task import TaskError

RECIPE = {"model": "moses", "count": 100, "filters": {"alerts": "none"}, "output": {"shard_size": 30}}


def begun(path):
    """A set of which nothing is made yet."""
    write_json(
        path / ".molgen/recipe.json", {"format": 1, "created": "2026-09-21", "recipe": recipe_from(RECIPE).to_json()}
    )
    return [{"kind": "facts", "created": "2026-09-21"}], [{"kind": "part", "number": number} for number in range(2)]


def test_local_workers_make_what_one_process_makes_though_they_are_killed(tmp_path):
    first, parts = begun(tmp_path / "local")
    executor = Processes(tmp_path / "local", 2, "cpu")
    try:
        (only,) = executor.run(first)
        assert only[0] == first[0]
        os.kill(executor._children[0].process.pid, signal.SIGKILL)
        found = {task["number"]: result for task, result in executor.run(parts)}
        with pytest.raises(TaskError, match="KeyError: 'nothing'"):
            list(executor.run([{"kind": "nothing"}]))
    finally:
        executor.close()
    alone, tasks = tmp_path / "alone", begun(tmp_path / "alone")
    from molgen_datasets.synthetic.worker import Worker

    worker = Worker(alone, "cpu")
    worker.do(tasks[0][0])
    assert {number: worker.do({"kind": "part", "number": number}) for number in (0, 1)} == found
    worker.close()


def test_a_task_that_always_loses_its_worker_ends_the_work():
    attempts = Attempts(2)
    for _ in range(2):
        attempts.lost({"kind": "part", "number": 3})
        attempts.lost({"kind": "part", "number": 4})
    with pytest.raises(MolgenError, match="the task part 3 lost its worker 3 times"):
        attempts.lost({"kind": "part", "number": 3})


def test_engines_and_addresses_that_there_are_not(tmp_path):
    with pytest.raises(UsageError, match="no engine is named 'spark'; known: local, ray, serial"):
        create(RECIPE, tmp_path / "a", engine="spark")
    with pytest.raises(UsageError, match="type --engine ray"):
        create(RECIPE, tmp_path / "b", address="auto")


@pytest.fixture
def own_address(monkeypatch):
    """The processes of a Ray cluster of this machine talk to each other by its own address, which is no loopback."""
    monkeypatch.setenv("MOLGEN_TESTS_ALLOW_NETWORK", "1")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("own_address")
def test_ray_makes_the_same_bytes_though_an_actor_is_killed(tmp_path):
    ray = pytest.importorskip("ray")
    from molgen_datasets.synthetic.ray_executor import Ray

    plain = create(RECIPE, tmp_path / "plain", engine="serial", device="cpu")
    made = create(RECIPE, tmp_path / "ray", engine="ray", workers=2, device="cpu")
    assert made == plain
    assert sha256(tmp_path / "ray" / "data") == sha256(tmp_path / "plain" / "data")
    assert not ray.is_initialized()

    first, parts = begun(tmp_path / "killed")
    executor = Ray(tmp_path / "killed", 2, "cpu")
    try:
        list(executor.run(first))
        for _ in executor.run(parts[:1]):
            os.kill(ray.get(executor._idle[0].process.remote()), signal.SIGKILL)
        assert [result["rows"] for _, result in executor.run(parts[1:])]
    finally:
        executor.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("own_address")
@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("dask", "dask"), ("spark", "pyspark")])
def test_other_engines_call_the_function(engine, package, tmp_path):
    pytest.importorskip(package)
    expected = table_of(range(20)).to_pylist()
    assert RUNS[engine](20) == expected


# --- the function from table to table -------------------------------------------------------------

DRAWS = {
    "model": "moses",
    "count": 1,
    "filters": {"alerts": "none"},
    "labels": {"properties": ["logp"], "density": True},
}


@pytest.fixture(autouse=True)
def _released():
    yield
    release()


def table_of(numbers):
    import pyarrow as pa

    return draw_table(pa.table({"id": list(numbers)}), DRAWS)


def by_ray(count):
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        made = ray.data.range(count).map_batches(
            draw_table, fn_kwargs={"recipe": DRAWS}, batch_format="pyarrow", batch_size=10
        )
        return sorted(made.take_all(), key=lambda row: row["draw"])
    finally:
        ray.shutdown()


def by_dask(count):
    import dask.dataframe as dd
    import pandas as pd
    import pyarrow as pa

    def made(frame):
        return draw_table(pa.Table.from_pandas(frame, preserve_index=False), DRAWS).to_pandas()

    frame = dd.from_pandas(pd.DataFrame({"id": range(count)}), npartitions=2)
    found = frame.map_partitions(made, meta=table_of([]).to_pandas()).compute(scheduler="synchronous")
    return sorted(found.to_dict("records"), key=lambda row: row["draw"])


def by_spark(count):
    """With Java, which Spark needs, and workers of this very environment."""
    import pyarrow as pa
    from pyspark.sql import SparkSession

    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Spark needs Java")

    def batches(each):
        for batch in each:
            yield from draw_table(pa.Table.from_batches([batch]), DRAWS).to_batches()

    kinds = {"string": "string", "double": "double", "int64": "long"}
    columns = ", ".join(f"`{one.name}` {kinds[str(one.type)]}" for one in table_schema())
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        spark = builder.getOrCreate()
    with spark:
        found = spark.range(count).mapInArrow(batches, columns).dropDuplicates(["key"]).collect()
    return sorted((row.asDict() for row in found), key=lambda row: row["draw"])


def table_schema():
    return table_of([]).schema


RUNS = {"ray": by_ray, "dask": by_dask, "spark": by_spark}


@pytest.mark.usefixtures("here")
def test_the_rows_of_draws_do_not_depend_on_the_tables_they_come_in():
    whole = table_of(range(40)).to_pylist()
    parts = [table_of(numbers).to_pylist() for numbers in ([7, 3, 8, 3], range(20, 40), [])]
    assert parts[0] == [row for row in whole if row["draw"] in (3, 7, 8)]
    assert parts[1] == [row for row in whole if row["draw"] >= 20]
    assert parts[2] == []
    assert set(whole[0]) == {"draw", "key", "smiles", "logp", "log_density", "log_density_kind"}
    assert len({row["key"] for row in whole}) == len({row["smiles"] for row in whole})


@pytest.mark.usefixtures("here")
def test_a_table_without_numbers_and_a_mixture_are_refused():
    import pyarrow as pa

    with pytest.raises(UsageError, match="no column 'id'"):
        draw_table(pa.table({"x": [1]}), DRAWS)
    mixture = {"models": [{"model": "moses"}, {"model": "moses"}], "count": 1}
    with pytest.raises(UsageError, match="draws from one model"):
        draw_table(pa.table({"id": [1]}), mixture)


def test_what_waits_for_more_tables_is_released():
    before = set(multiprocessing.active_children())
    first = table_of(range(3))
    assert set(multiprocessing.active_children()) - before  # they inspect the next table too
    release()
    assert set(multiprocessing.active_children()) <= before
    assert table_of(range(3)) == first
