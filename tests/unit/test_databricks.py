"""Every entry point that the Databricks job names exists, and takes the parameters given there."""

import importlib
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

from forecasting.config import load_config
from jobs.run import STAGES

ROOT = Path(__file__).parents[2]
BUNDLE = yaml.safe_load((ROOT / "databricks.yml").read_text(encoding="utf-8"))
JOBS = [
    job
    for file in sorted((ROOT / "conf" / "resources").glob("*.job.yml"))
    for job in yaml.safe_load(file.read_text(encoding="utf-8"))["resources"]["jobs"].values()
]
TASKS = [task for job in JOBS for task in job["tasks"]]
TARGETS = sorted(BUNDLE["targets"])


def resolved(value: str, target: str) -> str:
    """A parameter as the job gets it: the bundle's variables and the job's parameters filled in."""
    value = value.replace("${var.settings}", BUNDLE["variables"]["settings"]["default"])
    value = value.replace("${bundle.target}", target)
    value = value.replace("${workspace.file_path}", str(ROOT))
    value = re.sub(r"\{\{job\.[a-z_.]+\}\}", "4711", value)
    assert not re.search(r"\$\{|\{\{", value), value
    return value


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task["task_key"])
def test_an_entry_point_takes_the_parameters_of_its_task(task, target, monkeypatch):
    wheel = task["python_wheel_task"]
    found = [e for e in entry_points(group="console_scripts") if e.name == wheel["entry_point"]]
    assert found and found[0].dist.name == wheel["package_name"]
    main = found[0].load()
    taken = {}
    module = importlib.import_module("forecasting.runtime")
    monkeypatch.setattr(module, "run_job", lambda name, execute, config: taken.update(name=name, config=config))
    main([f"--{name}={resolved(value, target)}" for name, value in wheel["named_parameters"].items()])
    assert taken["name"] == task["task_key"]
    assert taken["config"].run.id == "4711"
    assert taken["config"] == load_config([ROOT / "conf" / f"{target}.yml"], ["run.id=4711"])


def test_the_tasks_are_the_chain_in_an_order_that_works():
    before = {task["task_key"]: {need["task_key"] for need in task.get("depends_on", [])} for task in JOBS[0]["tasks"]}
    assert tuple(before) == tuple(STAGES)
    done = set()
    for name, needs in before.items():
        assert needs <= done and (needs or name == "ingest")
        done.add(name)


def test_training_has_a_fixed_size_cluster_of_its_own():
    clusters = {cluster["job_cluster_key"]: cluster["new_cluster"] for cluster in JOBS[0]["job_clusters"]}
    users = {task["task_key"]: task["job_cluster_key"] for task in JOBS[0]["tasks"]}
    assert [name for name, cluster in users.items() if cluster == users["train"]] == ["train"]
    assert clusters[users["train"]]["num_workers"] == load_config([ROOT / "conf" / "prod.yml"]).training.ranks


def test_failures_are_retried_and_mailed():
    assert all(job["email_notifications"]["on_failure"] and job["schedule"]["quartz_cron_expression"] for job in JOBS)
    assert all(task["max_retries"] >= 1 for task in TASKS if task["task_key"] != "report")
