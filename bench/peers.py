"""Other generators, on the same layers through the same Yosys, nextpnr, part and seed.

    python bench/peers.py                  # a small layer, by all of them
    python bench/peers.py 64x32 256x64     # these

Every peer comes from the package index, in the version below, into an environment of its own in
build/peers. Layers and measurements are those of bench/unrolled.py; what a peer makes is simulated
against the integers, too. Adds to results/peers.json.

Peers that cannot be given a layer with its weights are not here: dwn2rtl and torchlogix write
hardware for networks of look-up tables and of gates, which have to be trained as such.
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np
from record import update
from rich.console import Console
from unrolled import LAYERS, PACKAGES, ours, placed, random_layer, run, wrong_bits

from xnorflow import __version__


VERSIONS = {"da4ml": "0.6.0", "alkaid": "0.8.2"}
ADDERS = 2
"""Between the registers of da4ml and alkaid, its successor."""

SOLVER = Path(__file__).with_name("unrolled_peer.py")
FOLDER = Path("build/peers").absolute()


def main() -> None:
    """Measure, print and record."""
    for name in sys.argv[1:] or ["64x32"]:
        layer = random_layer(*map(int, name.split("x")))
        row = {"version": __version__, **ours(*layer, LAYERS[name])}
        record(name, "xnorflow", row)
        for peer in VERSIONS:
            record(name, peer, theirs(*layer, peer))


def record(layer, generator, row):
    """Print and keep what a generator made of a layer."""
    row = {"network": f"{layer} {generator}", "layer": layer, "generator": generator, **row}
    Console().print(row)
    update("peers", "python bench/peers.py", PACKAGES, row)


def theirs(weights, thresholds, peer):
    """Measure what a peer makes of a layer."""
    python = environment(peer)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "layer.npz", weights=weights, thresholds=thresholds)
        row = json.loads(run([python, SOLVER, peer, folder, ADDERS], folder).splitlines()[-1])
        wrong = wrong_bits(folder, weights, thresholds, row["latency"])
        return row | {"wrong_bits": wrong} | placed(folder)


def environment(peer):
    """Python with a peer, installed if it is not there yet."""
    folder, wanted = FOLDER / peer, f"{peer}=={VERSIONS[peer]}"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", wanted], check=False)
    if done.returncode:
        sys.exit(f"{wanted} cannot be installed")
    return python


if __name__ == "__main__":
    main()
