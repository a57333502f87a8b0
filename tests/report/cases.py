"""Reports of small designs, with what simulation and place and route would add."""

import json

import numpy as np

from tests.hw.networks import random_conv_net, random_mlp, residual_net
from xnorflow.boards.build import PLACED
from xnorflow.boards.targets import ULX3S_85F
from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.compile.choose import choose
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.ops.matrix import Folding
from xnorflow.report.facts import BuildFacts, PathFacts, Report, RunFacts, UsageFacts
from xnorflow.report.gather import design_facts, simulation_facts
from xnorflow.report.placement import read_placement
from xnorflow.sim.activity import Activity
from xnorflow.sim.simulate import SimulationResult


LINK = Resources(luts=600, block_rams=1)
TRUTH = np.array([0, 0, 1, 1, 2, 2, 2, 2])
LABELS = np.array([0, 0, 1, 2, 2, 2, 2, 0])


def conv_design(cycles=100):
    return choose(random_conv_net(1), ULX3S_85F.device, clock=ULX3S_85F.clock, cycles=cycles)


def residual_design():
    return choose(residual_net(), ULX3S_85F.device, clock=ULX3S_85F.clock, cycles=1000)


def unrolled_design():
    foldings = {"fc1": Folding(6, 16), "fc2": Folding(5, 6), "fc3": Folding(3, 5)}
    return plan(random_mlp(1), foldings, 16, ULX3S_85F.device)


def facts(design):
    return design_facts(design, board="ulx3s-85f", clock=25_000_000, link=LINK)


def run(command):
    return RunFacts(command, f"xnorflow {command} <net> --seed 3", {"xnorflow": "1.2.3"})


def activity(design):
    """Layers wait for words in a part of the frame, and hold one back in another."""
    names = [stage.name for stage in design.stages]
    return Activity(
        starved={name: np.array([0.5, 0.1]) for name in names},
        held={name: np.array([0.0, 0.4]) for name in names},
        fills={name: depth - 1 for name, depth in design.depths.items()},
    )


def simulation(design):
    result = SimulationResult(
        labels=LABELS, scores=np.zeros((8, 3), dtype=np.int64), cycles_per_frame=100, latency=250,
        seconds=0.1, activity=activity(design),
    )  # fmt: skip
    return simulation_facts(design, result, TRUTH, stall=0.0, behavioural=False)


def netlist(path, **cells):
    """A netlist as nextpnr writes it; of each cell its type and its place."""
    content = {
        name.replace("__", "."): {"type": kind, "attributes": {"NEXTPNR_BEL": place}}
        for name, (kind, place) in cells.items()
    }
    path.write_text(json.dumps({"modules": {"top": {"cells": content}}}))
    return path


def build(design, folder):
    path = netlist(
        folder / PLACED,
        link__accelerator__conv1__sum_LUT4=("TRELLIS_COMB", "X3/Y2/SLICEA.LUT0"),
        link__accelerator__conv1__other_LUT4=("TRELLIS_COMB", "X3/Y2/SLICEA.LUT1"),
        link__accelerator__conv1_windows__memory=("DP16KD", "X5/Y4/EBR"),
        link__accelerator__guard__word=("TRELLIS_COMB", "X1/Y1/SLICEA.LUT0"),
        link__link__decoder__LUT4=("TRELLIS_COMB", "X1/Y2/SLICEA.LUT0"),
        pad=("TRELLIS_IO", "X0/Y0/PIOA"),
    )
    placed = read_placement(path, design.device.family, facts(design).layers)
    return BuildFacts(
        bitstream="ulx3s-85f.bit",
        seed=3,
        clock=25_000_000,
        fmax=61.5e6,
        usage=(UsageFacts("look-up tables", 1234, 83640), UsageFacts("block RAMs", 5, 208)),
        critical_path=PathFacts("conv1.sum", "conv2.word", 6.0, 10.0),
        placed=placed,
    )


def whole_report(folder):
    design = conv_design()
    return Report(
        design=facts(design),
        simulation=simulation(design),
        build=build(design, folder),
        runs=(run("simulate"), run("build")),
    )
