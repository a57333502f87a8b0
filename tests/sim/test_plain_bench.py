"""The bench of examples/ on what ``generate`` writes, as somebody else's simulation."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.hw.networks import dynamic_model, random_conv_net, random_mlp
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.sim.bench import (
    LanguageLevel,
    Simulator,
    available_simulators,
    build_bench,
    run_bench,
)
from xnorflow.sw.golden import golden


EXAMPLES = Path(__file__).parents[2] / "examples"

NETWORKS = {
    "dense": (random_mlp(3, side=5, widths=(10, 7), popcount=True), UP5K, 25),
    "conv": (random_conv_net(5), ECP5_85F, 1500),
    "dynamic": (dynamic_model("separate"), ECP5_85F, 144),
}

LEVELS = {
    Simulator.VERILATOR: [LanguageLevel.SYSTEMVERILOG_2012],
    Simulator.ICARUS: list(LanguageLevel),
}


def undefined_at_first(verilog):
    """The same text without the values that registers have from power-on."""
    text, count = re.subn(r"^(  reg .*\S) +=.*;$", r"\1 ;", verilog, flags=re.MULTILINE)
    assert count
    return text


CASES = [
    (name, simulator)
    for simulator in available_simulators()
    for name in NETWORKS
    # What Verilator takes long to compile: one network is enough.
    if simulator is Simulator.ICARUS or name == "dynamic"
]


@pytest.mark.parametrize(
    ("name", "simulator"), CASES, ids=lambda value: getattr(value, "value", value)
)
def test_gives_the_expected_scores(name, simulator, tmp_path, monkeypatch):
    """From power-on without a reset, and from anything with a reset of one cycle."""
    network, device, cycles = NETWORKS[name]
    path = generate(fold(network, device, cycles=cycles), tmp_path)
    shape = network.input.shape
    frames = np.random.default_rng(1).integers(0, 256, (4, *shape), np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    np.save(tmp_path / "scores.npy", golden(network, frames).scores.numpy())
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])

    undefined = tmp_path / "undefined.v"
    undefined.write_text(undefined_at_first(path.read_text()))
    for source, reset in [(path, 0), (undefined, 1)]:
        for level in LEVELS[simulator]:
            folder = tmp_path / f"{source.stem}-{level.value}"
            build = build_bench(simulator, source, "accelerator", folder, level=level)
            variables = {"DESIGN": str(tmp_path), "RESET": str(reset), "TIMEOUT_MS": "1"}
            report = run_bench(build, "cocotb_bench", variables=variables)
            assert report.failed == {}
            assert report.passed == ["gives_the_expected_scores"]
