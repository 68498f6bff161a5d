"""The benchmark for a GPU must not fail when at last there is one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.process]


def test_every_part_of_the_gpu_benchmark_runs(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "bench_gpu.py"), str(tmp_path), "--device", "cpu", "--tiny"]
    command += ["--corpus", "data=files", "data.src=en", "data.tgt=fr", f"data.train={ROOT}/data/sample/train"]
    command += [f"data.valid={ROOT}/data/sample/valid", f"data.cache={tmp_path}/cache"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "FAILED" not in done.stdout
    assert "check ok, rnnsearch ok, luong ok, recipes ok, after ok, kernels ok, profile ok" in done.stdout
    figures = json.loads((tmp_path / "bench.json").read_text())
    ways = {"fused", "kernels", "graphs", "kernels+graphs", "update"}
    assert {name.split()[-1] for name in figures if name.startswith("luong B=4")} == ways
    assert {name.split()[-1] for name in figures if name.startswith("rnnsearch B=3")} == ways | {"loop"}
    assert (tmp_path / "profile.txt").read_text().count("\n") > 10


def test_the_check_of_a_gpu_reports_each_part(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "gpu_check.py"), str(tmp_path), "--corpus", str(tmp_path)]
    command += ["--device", "cpu", "--tiny", "--minutes", "3", "--parts", "kernels", "profile"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "== kernels: ok" in done.stdout
    assert "== profile: ok" in done.stdout
    assert (tmp_path / "check.txt").read_text().count("fp32_accumulation in float32") >= 1
    assert (tmp_path / "profile.txt").exists()


def test_a_part_that_fails_does_not_take_the_others_with_it(tmp_path):
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import bench_gpu as b, torch\n"
        "b.PARTS['rnnsearch'] = lambda bench: torch.mm(torch.zeros(1, 2), torch.zeros(1, 2))\n"
        f"sys.argv = ['', {str(tmp_path)!r}, '--device', 'cpu', '--tiny', '--parts', 'rnnsearch', 'kernels']\n"
        "b.main()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert "rnnsearch FAILED: RuntimeError: mat1 and mat2" in done.stdout
    assert "check ok, rnnsearch FAILED, kernels ok" in done.stdout
