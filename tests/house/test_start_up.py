"""The command answers at once: what only an analysis needs is not loaded to print a help page."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "torch", "matplotlib", "skimage", "SimpleITK", "numba", "cv2", "scipy", "numpy", "pydicom", "networkx", "duckdb",
    "jinja2", "distributed", "dask", "pandas", "lifelines", "statsmodels", "pynetdicom", "requests",
}  # fmt: skip


def modules_loaded_by(code: str) -> set[str]:
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_loading_the_command_loads_no_science() -> None:
    assert not HEAVY & modules_loaded_by("import angio_pipeline.cli.main")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["pacs", "pull", "--help"], ["--version"]])
def test_help_loads_no_science(arguments: list[str]) -> None:
    code = f"import angio_pipeline.cli.main as m\ntry: m.app({arguments!r})\nexcept SystemExit: pass"
    assert not HEAVY & modules_loaded_by(code)


@pytest.mark.slow
def test_the_classical_pipeline_loads_no_torch() -> None:
    loaded = modules_loaded_by("import angio_pipeline.pipeline, angio_pipeline.batch")
    assert not {"torch", "distributed", "dask", "matplotlib"} & loaded


@pytest.mark.slow
def test_where_openvino_runs_the_networks_no_torch_is_loaded() -> None:
    pytest.importorskip("openvino")
    load = "from angio_pipeline.networks.prediction import load_run_predictor"
    asked = f"{load}\nload_run_predictor(threads=1, engine='openvino')"
    assert "torch" not in modules_loaded_by(asked)


@pytest.mark.slow
def test_what_workers_start_from_runs_no_thread_and_no_network() -> None:
    # A thread would not be there in the process that is forked, and whoever waited for it would wait for ever.
    load = "import threading, angio_pipeline.batch.beforehand\nassert threading.active_count() == 1"
    loaded = modules_loaded_by(load)
    assert {"matplotlib", "highdicom", "numba"} <= loaded
    assert not {"torch", "openvino"} & loaded


@pytest.mark.slow
def test_an_analysis_of_runs_loads_no_statistics() -> None:
    script = "import sys, angio_pipeline.pipeline, angio_pipeline.batch\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert not {"scipy.stats", "scipy.signal"} & set(result.stdout.split())
