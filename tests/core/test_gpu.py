"""A GPU that the installed torch cannot use, with an nvidia-smi and an installed torch made for the test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core import gpu
from pipeline.core.gpu import BUILDS, Driver, Gpu, TorchBuild, gpu_problem, memory_problem, nvidia_driver, problem_of
from pipeline.core.paths import ROOT
from tests.gpus import A100, BLACKWELL, H100, T4, V100, fake_smi, fake_torch

PYPI = TorchBuild("2.13.0+cu130", "13.0")
OLD = TorchBuild("2.13.0+cu126", "12.6")
CPU = TorchBuild("2.13.0+cpu", None)
CU126 = "`pip install --force-reinstall torch==2.13.0 --index-url https://download.pytorch.org/whl/cu126`"
CU130 = CU126.replace("cu126", "cu130")


@pytest.mark.parametrize(
    ("torch", "card", "driver", "reason", "remedy"),
    [
        (CPU, T4, "580.65.06", "is a build without CUDA", f"install the build for CUDA 13.0: {CU130}."),
        (CPU, T4, "550.54.15", "is a build without CUDA", f"install the build for CUDA 12.6: {CU126}."),
        (PYPI, T4, "550.54.15", "CUDA 13.0, which needs driver 580 or newer", f"for CUDA 12.6: {CU126}."),
        (PYPI, V100, "580.65.06", "CUDA 13.0, which has kernels for compute capability 7.5 to 12.x", CU126),
        (OLD, BLACKWELL, "570.10", "CUDA 12.6, which has kernels for compute capability 5.0 to 9.x", f"and install {CU130}."),
        (PYPI, BLACKWELL, "570.10", "needs driver 580 or newer", "update the driver to 580 or newer."),
        (OLD, T4, "470.10", "needs driver 525 or newer", "update the driver to 525 or newer."),
        (PYPI, Gpu("Tesla K80", (3, 7)), "470.10", "7.5 to 12.x", "no build of torch 2.13.0 has kernels for this card"),
        (PYPI, Gpu("Tesla T4", None), "550.54.15", "needs driver 580 or newer", CU126),
    ],
)  # fmt: skip
def test_a_gpu_that_torch_cannot_use_is_named_with_versions_and_remedy(
    torch: TorchBuild, card: Gpu, driver: str, reason: str, remedy: str
) -> None:
    found = problem_of(Driver(driver, (card,)), torch)
    assert found is not None
    assert found.startswith(
        f"This machine has a GPU, {card}, with driver {driver}, but training uses the CPU: torch {torch.version} "
    )
    assert reason in found and remedy in found and found.endswith(".")


@pytest.mark.parametrize(
    ("torch", "card", "driver"),
    [(PYPI, T4, "580.65.06"), (PYPI, A100, "590.1"), (OLD, V100, "525.60.13"), (OLD, H100, "535.1"), (PYPI, BLACKWELL, "580.1")],
)  # fmt: skip
def test_a_gpu_that_torch_can_use_is_no_problem(torch: TorchBuild, card: Gpu, driver: str) -> None:
    assert problem_of(Driver(driver, (card,)), torch) is None


@pytest.mark.parametrize("version", ["[N/A]", "", "R580"])
def test_a_driver_without_a_version_is_taken_as_new_enough(version: str) -> None:
    assert problem_of(Driver(version, (T4,)), PYPI) is None
    assert "install the build for CUDA 13.0" in (problem_of(Driver(version, (T4,)), CPU) or "")


def test_a_machine_without_a_gpu_has_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_driver(tmp_path / "none") is None
    assert problem_of(Driver("580.1", ()), CPU) is None


@pytest.mark.parametrize("visible", ["", "-1", "7"])
def test_a_gpu_that_is_hidden_is_none(visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert problem_of(Driver("580.1", (T4,)), CPU) is None


def test_the_visible_gpu_is_the_one_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert "Tesla V100" in (problem_of(Driver("580.1", (T4, V100)), PYPI) or "")


def test_nvidia_smi_and_the_files_of_torch_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_smi(tmp_path, monkeypatch, T4, driver="550.54.15", used_mib=0)
    assert nvidia_driver() == Driver("550.54.15", (Gpu("Tesla T4", (7, 5), 15_360 * 2**20, 0),))
    script = (
        "from pipeline.core import gpu; import sys; print(gpu.installed_torch()); assert 'torch' not in sys.modules"
    )
    for version, cuda, local in (("2.13.0", "13.0", "+cu130"), ("2.13.0+cpu", None, ""), ("2.13.0+cu126", "12.6", "")):
        installed = fake_torch(tmp_path / version, version, cuda=cuda, local=local)
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONPATH": f"{installed}:{ROOT}"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == str(TorchBuild(version + local, cuda))


def test_the_files_of_the_driver_are_read_where_nvidia_smi_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = tmp_path / "proc"
    (proc / "gpus" / "0000:00:1e.0").mkdir(parents=True)
    (proc / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5\nGCC version: 12\n"
    )
    (proc / "gpus" / "0000:00:1e.0" / "information").write_text("Model: \t\t Tesla T4\nIRQ:   \t\t 10\n")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert nvidia_driver(proc) == Driver("550.54.15", (Gpu("Tesla T4", None),))
    fake_smi(tmp_path, monkeypatch, T4, fails="Failed to initialize NVML: Driver/library version mismatch")
    driver = nvidia_driver(proc)
    assert driver is not None
    assert "nvidia-smi answers 'Failed to initialize NVML: Driver/library version mismatch'; restart" in (
        problem_of(driver, PYPI) or ""
    )


def test_memory_that_others_hold_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "installed_torch", lambda: PYPI)
    fake_smi(tmp_path, monkeypatch, T4, driver="580.65.06", used_mib=14_000)
    assert gpu_problem() is None
    assert memory_problem(10**9) is None, "it fits beside the others"
    found = memory_problem(3 * 10**9) or ""
    assert found.startswith("The run needs about 3.0 GB of Tesla T4, and 14.7 of its 16.1 GB are in use; end ")


def test_nvidia_smi_is_not_asked_again_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_smi(tmp_path, monkeypatch, T4)
    for _ in range(5):
        nvidia_driver()
    assert calls.read_text() == "called\n"


def test_the_build_on_pypi_comes_first() -> None:
    assert [build.folder for build in BUILDS] == ["cu130", "cu126"]
