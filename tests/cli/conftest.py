"""The command line in an empty folder, with a network and frames in it."""

import sys

import numpy as np
import pytest

from tests.hw.networks import random_mlp
from xnorflow.cli import main
from xnorflow.cli.shared import console
from xnorflow.ir.xnf import save
from xnorflow.sw.data import published


NETWORK = random_mlp(1, popcount=True)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Folder of compiled simulations."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path, compiled):
    """Run the command line in an empty folder; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(console, "width", 200)  # which is read from there when it is made
    # Whose compiled simulations are kept is for a test of its own.
    monkeypatch.setenv("XNORFLOW_DATA", str(published.cache_folder()))
    monkeypatch.setenv("XNORFLOW_CACHE", str(compiled))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["xnorflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)


@pytest.fixture
def files(tmp_path, frames):
    """A network and frames for it."""
    save(NETWORK, tmp_path / "net.xnf")
    np.save(tmp_path / "frames.npy", frames)
    return tmp_path
