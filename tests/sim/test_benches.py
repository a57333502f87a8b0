import dataclasses

import pytest

from tests.hw.networks import dynamic_model, random_conv_net, random_mlp
from tests.pool_nets import pool_network
from xnorflow.errors import ToolError
from xnorflow.hw.compile.emit import generate
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.compile.verilog import component_verilog
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.hw.ops.folding import Folding
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.ir import Gate, Network, xnf
from xnorflow.sim.bench import Simulator, available_simulators, build_bench, run_bench
from xnorflow.sim.benches import units


ON_EVERY_SIMULATOR = pytest.mark.parametrize(
    "simulator", available_simulators(), ids=lambda simulator: simulator.value
)

# Gate and P of a network on 5 × 5 pixels with layers of 10, 7 and 4 neurons; PE and SIMD of each
# layer and the input's lanes, none of which divides its matrix; a device.
ACCELERATORS = {
    "sign": (Gate.XNOR, False, [(4, 9), (3, 8), (2, 3)], 3, ECP5_85F),
    "adabin": (Gate.XNOR, True, [(3, 4), (7, 6), (4, 7)], 4, UP5K),
    "siman": (Gate.AND, False, [(10, 30), (1, 10), (3, 1)], 6, ECP5_85F),
    "packets": (Gate.XNOR, True, [(4, 9), (3, 8), (2, 3)], 3, ECP5_85F),
}


# Networks, and cycles a frame. The convolutional ones have 8-bit and binary first layers, both
# gates, P, strides, padding, pools and border classes among them; the dynamic one has a shortcut,
# and thresholds and shifts that follow from the frame, each from means of their own.
FOLDED = {
    "conv-a": (random_conv_net(1), 400),
    "conv-b": (random_conv_net(5), 1500),
    "conv-c": (random_conv_net(11), 300),
    "dynamic": (dynamic_model("separate"), 144),
    "pools": (pool_network(10), 200),
    "conv-packets": (random_conv_net(5), 400),
}

# Where Icarus is there, Verilator, which takes long to compile, gets only some of them.
VERILATED = {"sign", "conv-b", "dynamic"}

RUNS = [
    pytest.param(
        simulator,
        name,
        id=f"{name}-{simulator.value}",
        marks=()
        if simulator is Simulator.ICARUS
        or name in VERILATED
        or Simulator.ICARUS not in available_simulators()
        else pytest.mark.slow,
    )
    for simulator in available_simulators()
    for name in [*ACCELERATORS, *FOLDED]
]

# Of these, packets hold any number of frames.
PACKETS = {"packets", "conv-packets"}


def make_case(directory, name):
    """Write network and accelerator into ``directory``."""
    if name in FOLDED:
        network, cycles = FOLDED[name]
        design = fold(network, ECP5_85F, cycles=cycles)
    else:
        gate, popcount, layers, lanes, device = ACCELERATORS[name]
        network = random_mlp(1, side=5, widths=(10, 7), classes=4, gate=gate, popcount=popcount)
        foldings = {f"fc{n}": Folding(*layer) for n, layer in enumerate(layers, 1)}
        design = plan(network, foldings, lanes, device)
    if name in PACKETS:
        design = dataclasses.replace(design, frames_per_packet=FramesPerPacket.ANY)
    generate(design, directory)
    xnf.save(network, directory / "network.xnf")
    return network


def flip_neuron(network):
    """The network with the weights of a neuron of its first layer turned over."""
    conv = network.nodes[1]
    weights = conv.weights.copy()
    weights[0] ^= True
    wrong = dataclasses.replace(conv, weights=weights)
    nodes = tuple(wrong if node is conv else node for node in network.nodes)
    return Network(network.name, network.input, nodes, network.labels)


@ON_EVERY_SIMULATOR
def test_units(simulator, tmp_path):
    path = tmp_path / "units.v"
    path.write_text(component_verilog(units.top(), "units"))
    build = build_bench(simulator, path, "units", tmp_path / "build")

    report = run_bench(build, "xnorflow.sim.benches.units")

    assert report.failed == {}
    assert len(report.passed) == 3 * len(units.CASES) + len(units.POPCOUNTS)


@pytest.mark.parametrize(("simulator", "name"), RUNS)
def test_accelerators(simulator, name, tmp_path):
    network = make_case(tmp_path, name)
    build = build_bench(
        simulator, tmp_path / "accelerator.v", "accelerator", tmp_path / "build", probes=["o__*"]
    )
    variables = {"XNORFLOW_CASE": str(tmp_path)}

    report = run_bench(build, "xnorflow.sim.benches.accelerator", variables=variables)

    assert report.failed == {}
    assert len(report.passed) == 12

    if name == "sign" and simulator is Simulator.VERILATOR:
        # The bench must notice a single wrong neuron.
        xnf.save(flip_neuron(network), tmp_path / "network.xnf")
        report = run_bench(build, "xnorflow.sim.benches.accelerator", variables=variables)
        assert {"runs_at_the_promised_rate", "gives_every_activation"} <= report.failed.keys()

        with pytest.raises(ToolError, match=r"^the simulation of accelerator broke off; see "):
            run_bench(build, "no_such_bench")


@ON_EVERY_SIMULATOR
def test_says_where_the_log_is(simulator, tmp_path):
    path = tmp_path / "broken.v"
    path.write_text("module broken; nonsense endmodule")
    with pytest.raises(
        ToolError, match=rf"^{simulator.value} cannot compile .*broken\.v; see .*log$"
    ):
        build_bench(simulator, path, "broken", tmp_path / "build")
