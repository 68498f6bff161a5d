"""What every test shares: one thread (ten times faster and steady on small tensors) and the corpora, where they are."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)

pytest_plugins = ["tests.support.model_fixtures", "tests.support.run_fixtures", "tests.support.command_fixtures"]

# A busy machine is no reason to fail: examples are counted, not timed.
settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items):
    for item in items:
        if "fork" in item.fixturenames:
            item.add_marker(pytest.mark.process)
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU, and torch sees none"))
    # The files that take longest come first, so that no worker is left with one of them at the end.
    long = {item.path for item in items if "process" in item.keywords}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora named by NMT_CORPORA; the test skips where there is none."""
    folder = os.environ.get("NMT_CORPORA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the real corpora: set NMT_CORPORA to their folder")
    return Path(folder)
