"""The scripts for Slurm, with a stand-in that sets the number of a task and runs it; Ray's YAML."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from featx.cache.joined import open_cache
from featx.core.drafts import is_draft

SCRIPTS = Path(__file__).parents[1] / "pipelines" / "cluster"


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


class Slurm:
    """A stand-in for Slurm: runs the tasks of an array one after the other.

    Parameters
    ----------
    folder : Path
        Folder for the programs ``srun`` and ``featx``.
    featx : str
        Command that stands for ``featx``.
    """

    def __init__(self, folder: Path, featx: str) -> None:
        folder.mkdir()
        write_program(folder / "srun", 'exec "$@"')
        write_program(folder / "featx", f'exec {featx} "$@"')
        self.environment = {
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "SOURCE": "photos",
            "PARTS": "parts",
            "CACHE": "all.h5",
            "N_PARTS": "4",
        }
        self.folder = folder.parent

    def run(self, script: str, *words: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        changed = {name: str(value) for name, value in variables.items()}
        environment = {k: v for k, v in (self.environment | changed).items() if v != "None"}
        command = ["bash", str(SCRIPTS / script), *words]
        return subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, check=False
        )


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    """Slurm with a featx that prints its words."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    return Slurm(tmp_path / "bin", "printf '%s\\n'")


def test_a_task_embeds_its_part(slurm: Slurm) -> None:
    done = slurm.run("extract.sbatch", "--backbone", "mini", SLURM_ARRAY_TASK_ID=3)
    words = ["extract", "photos", "-o", "parts", "--part", "3/4", "--backbone", "mini"]
    assert done.stdout.splitlines() == words, done.stderr


def test_a_few_tasks_that_run_again_are_parts_of_the_whole(slurm: Slurm) -> None:
    again = {"SLURM_ARRAY_TASK_ID": 3, "SLURM_ARRAY_TASK_COUNT": 2, "SLURM_ARRAY_TASK_MAX": 3}
    assert "3/4" in slurm.run("extract.sbatch", **again).stdout.splitlines()


@pytest.mark.parametrize("script", ["extract.sbatch", "merge.sbatch"])
def test_a_task_that_slurm_starts_again_takes_over_the_lock(slurm: Slurm, script: str) -> None:
    for n_restarts, is_broken in ((None, False), (0, False), (1, True)):
        task = {"SLURM_ARRAY_TASK_ID": 1, "SLURM_RESTART_COUNT": n_restarts}
        words = slurm.run(script, **task).stdout.splitlines()
        assert ("--break-lock" in words) is is_broken


@pytest.mark.parametrize("name", ["SOURCE", "PARTS", "N_PARTS", "SLURM_ARRAY_TASK_ID"])
def test_what_is_not_set_is_named(slurm: Slurm, name: str) -> None:
    done = slurm.run("extract.sbatch", **{"SLURM_ARRAY_TASK_ID": 1, name: None})
    assert done.returncode != 0
    assert f"{name}: " in done.stderr
    assert done.stdout == ""


def test_the_merge_writes_the_cache(slurm: Slurm) -> None:
    done = slurm.run("merge.sbatch", "--overwrite")
    assert done.stdout.splitlines() == ["merge", "parts", "-o", "all.h5", "--overwrite"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_tasks_that_fail_and_run_again_end_in_one_cache(tmp_path: Path, make_image: Any) -> None:
    for number in range(12):
        make_image(
            tmp_path / "photos" / ("ants", "bees")[number % 2] / f"{number}.png", seed=number
        )
    slurm = Slurm(tmp_path / "bin", f"{sys.executable} -m featx")
    for number in (1, 2, 4):
        done = slurm.run("extract.sbatch", "--backbone", "lenet5", SLURM_ARRAY_TASK_ID=number)
        assert done.returncode == 0, done.stderr
    done = slurm.run("merge.sbatch")
    assert done.returncode == 1
    assert "got 3 of 4 parts, without 3. Extract each missing part" in done.stderr
    assert "featx extract source --output parts --part 3/4" in done.stderr
    assert (
        slurm.run("extract.sbatch", SLURM_ARRAY_TASK_ID=3).returncode == 0
    )  # settings: the others'
    done = slurm.run("merge.sbatch")
    assert done.returncode == 0, done.stderr
    with open_cache(tmp_path / "all.h5") as cache:
        assert len(cache) == 12
        assert cache.embeddings == ("lenet5",)
    assert not any(is_draft(path.name) for path in tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
def test_the_cluster_fits_the_schema_of_ray() -> None:
    jsonschema, yaml = pytest.importorskip("jsonschema"), pytest.importorskip("yaml")
    spec = importlib.util.find_spec("ray")  # its import would take seconds
    assert spec is not None
    assert spec.origin is not None
    schema = json.loads(
        Path(spec.origin).with_name("autoscaler").joinpath("ray-schema.json").read_text()
    )
    cluster = yaml.safe_load((SCRIPTS / "ray-aws.yaml").read_text())
    jsonschema.validate(cluster, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cluster | {"max_worker": 8}, schema)
    # What Ray checks beyond its schema.
    kinds = cluster["available_node_types"]
    assert cluster["head_node_type"] in kinds
    assert sum(kind.get("min_workers", 0) for kind in kinds.values()) <= cluster["max_workers"]
