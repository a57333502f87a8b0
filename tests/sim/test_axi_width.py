import dataclasses

import pytest

from tests.hw.networks import random_conv_net, random_mlp
from xnorflow.errors import DesignError
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.compile.ports import AxiPorts, ResetPort
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.ops.folding import Folding
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.ir import xnf
from xnorflow.sim.bench import Simulator, available_simulators, build_bench, run_bench


MLP = random_mlp(1, side=5, widths=(10, 7), classes=4)
FOLDINGS = {"fc1": Folding(4, 9), "fc2": Folding(3, 8), "fc3": Folding(2, 3)}
ONE, ANY = FramesPerPacket

# A frame of 25 bytes in transfers of 4 and words of 3; in ones of 8 and words of 1; a signal of
# several channels; and transfers that are narrower than words.
CASES = {
    "32": (plan(MLP, FOLDINGS, 3, ECP5_85F), 32, ONE),
    "32-packets": (plan(MLP, FOLDINGS, 3, ECP5_85F), 32, ANY),
    "64": (plan(MLP, FOLDINGS, 1, ECP5_85F), 64, ONE),
    "8": (plan(MLP, FOLDINGS, 9, ECP5_85F), 8, ONE),
    "conv": (fold(random_conv_net(5), ECP5_85F, cycles=400), 32, ANY),
}

# The others, and Verilator where Icarus is there, take long.
FAST = {"32", "32-packets"}

RUNS = [
    pytest.param(
        simulator,
        name,
        id=f"{name}-{simulator.value}",
        marks=()
        if name in FAST
        and (simulator is Simulator.ICARUS or Simulator.ICARUS not in available_simulators())
        else pytest.mark.slow,
    )
    for simulator in available_simulators()
    for name in CASES
]


@pytest.mark.parametrize(("simulator", "name"), RUNS)
def test_accelerators(simulator, name, tmp_path):
    design, width, packets = CASES[name]
    design = dataclasses.replace(design, frames_per_packet=packets)
    reset = ResetPort.RST if name == "64" else ResetPort.ARESETN
    path = generate(design, tmp_path, ports=AxiPorts(width, reset))
    xnf.save(design.network, tmp_path / "network.xnf")
    build = build_bench(simulator, path, "accelerator", tmp_path / "build")
    variables = {"XNORFLOW_CASE": str(tmp_path)}

    report = run_bench(build, "xnorflow.sim.benches.axi_width", variables=variables)

    assert report.failed == {}
    assert len(report.passed) == 11


@pytest.mark.parametrize("width", [0, 7, 12, 4104])
def test_other_widths_are_refused(width):
    message = f"^the AXI width must be a multiple of 8 from 8 to 4096 bits, not {width}$"
    with pytest.raises(DesignError, match=message):
        AxiPorts(width)
