"""Shapes and dtypes in signatures are checked in every test; data of the workshop is used where it is there."""

import os
from pathlib import Path

# Several tests run at once, and two threads that wait for each other are far slower than one: before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

CHECKED = [
    "recon.types",
    "recon.files",
    "recon.geometry",
    "recon.eyes",
    "recon.voxels",
    "recon.bundle",
    "recon.fitting",
    "recon.stages",
    "recon.evaluation",
    "recon.io",
]
install_import_hook(CHECKED, "beartype.beartype")

settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True, database=None)
settings.load_profile("quick")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The workshop's folder of real data; tests that need it are skipped, visibly, where it is not there."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared")
    return SHARED


@pytest.fixture(scope="session")
def vits_weights(shared: Path) -> Path:
    """Depth Anything V2 Small."""
    path = shared / "weights" / "depth_anything_v2_vits.safetensors"
    if not path.is_file():
        pytest.skip(f"needs {path.name}")
    return path
