"""Timing figure of docs/explanation/dynamic.md: which units compute when around a frame barrier.

    python bench/timing.py

Simulates a small network whose thresholds follow from the frame, and the same network with static
ones; watches in which cycles words move; checks every score against the golden model, and both
rates against each other and the prediction. Prints the figure's caption; writes
docs/images/dynamic.svg.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from amaranth.hdl import Module
from amaranth.sim import Simulator
from numpy.typing import NDArray
from rich.console import Console

from xnorflow.hw.compile.accelerator import Accelerator
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir import FeatureMap, UInt
from xnorflow.sw.frontend.prepare import prepare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.models.methods import ResidualMethod
from xnorflow.sw.models.pixels import IntegerPixels
from xnorflow.sw.models.registry import Task
from xnorflow.sw.models.spec import ModelSpec
from xnorflow.sw.nn.grid import Grid


FIGURE = Path(__file__).parent.parent / "docs" / "images" / "dynamic.svg"

SPEC = ModelSpec(
    "residual",
    Task((3, 8, 8), 3, IntegerPixels((0.5,) * 3, (0.25,) * 3, bits=5)),
    {"first": {"channels": 8}, "blocks": [[8, 1, 3]]},
)
GRID = Grid(12, 5)
FRAME = FeatureMap(8, 8, 3, UInt(8))
CYCLES = 576
"""Of a frame: the 64 windows of a convolution, nine pixels each."""

FRAMES = 6

WATCHED = {
    "come": ("stem_act_fork", "i"),
    "enter": ("stem_act_held", "i"),
    "sums": ("blocks_0_hyper_sums", "o"),
    "dense in": ("blocks_0_hyper_squeeze", "i"),
    "dense out": ("blocks_0_hyper_excite", "o"),
    "parameters": ("blocks_0_conv_bits", "i_parameters"),
    "leave": ("stem_act_held", "o"),
    "read": ("blocks_0_conv_bits", "i"),
    "compared": ("blocks_0_conv_bits", "o"),
}
"""Units and their ports."""

Times = dict[str, NDArray[np.int64]]
"""For each stream, (frames, words): the cycles in which words are transferred."""


def main() -> None:
    """Simulate, check, print and draw."""
    rng = np.random.default_rng(1)
    # Frames whose brightness differs, and with it their parameters.
    frames = rng.integers(0, 256, (FRAMES, *FRAME.shape)) * rng.random((FRAMES, 1, 1, 1))
    design, times = simulate(ResidualMethod.DYBNN, frames.astype(np.uint8), WATCHED)
    static, static_times = simulate(
        ResidualMethod.REACTNET, frames.astype(np.uint8), {"come": WATCHED["come"]}
    )

    assert {name: design.foldings[name] for name in static.foldings} == static.foldings
    assert design.cycles_per_frame == static.cycles_per_frame == CYCLES
    for measured in times, static_times:
        assert set(np.diff(measured["scores"][:, 0])) == {CYCLES}
    Console(soft_wrap=True).print(caption(design, times, static_times))
    FIGURE.write_text(draw(design, times, static_times), encoding="utf-8")


def simulate(
    method: ResidualMethod, frames: NDArray[np.uint8], watched: Mapping[str, tuple[str, str]]
) -> tuple[Design, Times]:
    """Send frames without a gap through a network with random weights.

    The first word of the first stream that is watched comes in cycle 0.
    """
    torch.manual_seed(1)
    model = SPEC.with_method(method.value).build().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("excite.weight"):  # zero before training
            torch.nn.init.normal_(parameter)
    design = fold(lower(prepare(model, GRID, FRAME)), ECP5_85F, cycles=CYCLES)

    dut = Observed(design)
    sim = Simulator(dut)
    streams = {name: getattr(dut.units[unit], port) for name, (unit, port) in watched.items()}
    streams["scores"] = dut.o
    moves = [stream.valid & stream.ready for stream in streams.values()]
    cycles: dict[str, list[int]] = {name: [] for name in streams}
    scores = []

    async def put(ctx: Any) -> None:
        ctx.set(dut.i.valid, 1)
        for frame in frames.reshape(len(frames), -1, design.input_lanes).tolist():
            for n, word in enumerate(frame):
                ctx.set(dut.i.p, {"data": word, "last": n == len(frame) - 1, "error": 0})
                await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def watch(ctx: Any) -> None:
        ctx.set(dut.o.ready, 1)
        for cycle in range((len(frames) + 3) * CYCLES):  # enough for the latency
            _, _, result, *moved = await ctx.tick().sample(dut.o.p, *moves)
            for name, move in zip(streams, moved, strict=True):
                if move:
                    cycles[name].append(cycle)
            if moved[-1]:
                scores.append(list(result.scores))

    sim.add_clock(1e-6)
    sim.add_testbench(put, background=True)
    sim.add_testbench(watch)
    sim.run()
    assert scores == golden(design.network, frames).scores.tolist()
    start = cycles[next(iter(watched))][0]
    return design, {n: np.reshape(each, (len(frames), -1)) - start for n, each in cycles.items()}


class Observed(Accelerator):
    """An accelerator whose units can be watched."""

    def elaborate(self, platform: object) -> Module:
        """Keep the units at hand."""
        module = super().elaborate(platform)
        self.units = module.submodules
        return module


def caption(design: Design, times: Times, static: Times) -> str:
    """Numbers that the figure shows."""
    words = times["come"].shape[1]
    barrier = times["leave"][1, 0] - times["come"][1, -1]
    (late,) = set((times["scores"] - static["scores"]).flat)
    return (
        f"A frame of {words} words every {design.cycles_per_frame} cycles, with static and "
        f"with dynamic thresholds. Its first word leaves {barrier} cycles after its last one "
        f"came; meanwhile the next frame comes in, and up to {most_held(times)} words are in the "
        f"buffer, which has room for {design.depths['stem_act_held']}. "
        f"Each score comes {late} cycles later than with static thresholds."
    )


def held(times: Times, cycles: NDArray[np.int64]) -> NDArray[np.int64]:
    """Words of each frame that are in the buffer before given cycles, (frames, cycles)."""
    pairs = zip(times["enter"], times["leave"], strict=True)
    return np.array([np.searchsorted(i, cycles) - np.searchsorted(o, cycles) for i, o in pairs])


def most_held(times: Times) -> int:
    """Words that the buffer holds at most."""
    return int(held(times, np.arange(times["scores"].max())).sum(0).max())


# -- the figure -----------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT = 960, 470, 204
TOP, ROW, BAR = 74, 30, 20
FLOOR, WORD = 450, 0.17
"""Where the buffer is empty, and how high a word is, in pixels."""

COLOURS = ("#c6dbef", "#3182bd"), ("#fdd0a2", "#e6550d"), ("#c7e9c0", "#31a354")
"""Of frames: inside, outline."""

LATER = "#f0f0f0", "#aaa"
"""Of the frames behind them."""

HEAD = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" \
font-family="sans-serif" font-size="13" text-anchor="middle">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
"""

QUIET = 'fill="#555" font-size="12"'
DASHES = 'stroke="#bbb" stroke-dasharray="4 4"'
START, END = 'text-anchor="start"', 'text-anchor="end"'


class Bar(NamedTuple):
    """Names of what keeps a unit at work from its first to its last cycle."""

    cycles: NDArray[np.int64]
    frame: int
    label: str = ""
    hollow: bool = False


class Sheet:
    """Drawing whose x axis is in clock cycles. What is behind the last one runs off its edge."""

    def __init__(self, last: int):
        self.last = last
        self.lines: list[str] = []

    def x(self, cycle: float) -> float:
        """Where a cycle begins."""
        return LEFT + (WIDTH - LEFT) * cycle / self.last

    def text(self, x: float, y: float, content: str, attributes: str = "") -> None:
        """Write, centred unless the attributes say otherwise."""
        self.lines.append(f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{content}</text>')

    def path(self, path: str, attributes: str) -> None:
        """Draw lines."""
        self.lines.append(f'<path d="{path}" {attributes}/>')

    def bar(self, y: float, bar: Bar) -> None:
        """Draw a bar, and its label if it is all there."""
        first, last = self.x(bar.cycles.min()), self.x(bar.cycles.max() + 1)
        if first > WIDTH:
            return
        inside, outline = colours(bar.frame)
        self.lines.append(
            f'<rect x="{first:.1f}" y="{y}" width="{max(last - first, 3):.1f}" height="{BAR}" '
            f'fill="{"white" if bar.hollow else inside}" stroke="{outline}"/>'
        )
        if bar.label and last < WIDTH:
            self.text((first + last) / 2, y + 14.5, bar.label, 'font-size="12"')


def colours(frame: int) -> tuple[str, str]:
    """Inside and outline of what belongs to a frame."""
    return COLOURS[frame] if frame < len(COLOURS) else LATER


def draw(design: Design, times: Times, static: Times) -> str:
    """Rows of bars over time, and what is in the buffer below."""
    sheet = Sheet(int(times["scores"][len(COLOURS) - 1, 0]) + 60)
    sheet.text(LEFT, 26, "frames pass a barrier", f'{START} font-size="15" font-weight="bold"')
    sheet.text(LEFT - 12, 56, "clock cycle", f"{END} {QUIET}")
    drawn = rows(times, static)
    # No grid where the cycles from score to score are written.
    scores = TOP + ROW * list(drawn).index("scores")
    for edge in range(0, sheet.last, design.cycles_per_frame):
        x = sheet.x(edge)
        sheet.text(x, 56, f"{edge:,}", QUIET)
        sheet.path(f"M{x:.1f} 62V{scores}m0 {2 * ROW}V{FLOOR}", DASHES)
    for n, (label, bars) in enumerate(drawn.items()):
        sheet.text(LEFT - 12, TOP + ROW * n + 14.5, label, END)
        for bar in bars:
            sheet.bar(TOP + ROW * n, bar)
    for n, measured in enumerate((times, static)):
        first, *others = measured["scores"][: len(COLOURS), 0]
        for score in others:
            x = (sheet.x(first) + sheet.x(score)) / 2
            sheet.text(x, scores + ROW * n + 14.5, f"← {score - first} cycles →", QUIET)
            first = score
    occupancy(sheet, design, times)
    return HEAD + "\n".join(sheet.lines) + "\n</svg>\n"


def rows(times: Times, static: Times) -> dict[str, list[Bar]]:
    """Rows of the figure from top to bottom."""
    dense = np.concatenate([times["dense in"], times["dense out"]], axis=1)
    leave = np.concatenate([times["leave"], times["compared"]], axis=1)
    numbers = range(FRAMES)

    def table(half: int) -> Iterator[Bar]:
        for n in numbers[half::2]:
            yield Bar(times["parameters"][n], n, "fill", hollow=True)
            yield Bar(times["read"][n], n, f"read by frame {n}")

    return {
        "words come in": [Bar(times["come"][n], n, f"frame {n}") for n in numbers],
        "sums of the channels": [Bar(times["sums"][n], n) for n in numbers],
        "dense layers, W₁ and W₂": [Bar(dense[n], n) for n in numbers],
        "thresholds: table 0": list(table(0)),
        "table 1": list(table(1)),
        "words leave, are compared": [Bar(leave[n], n, f"frame {n}") for n in numbers],
        "scores": [Bar(times["scores"][n], n) for n in numbers],
        "scores, static network": [Bar(static["scores"][n], n) for n in numbers],
    }


def occupancy(sheet: Sheet, design: Design, times: Times) -> None:
    """Draw the words in the buffer, those of later frames on top."""
    corners = np.concatenate([times[name][:, [0, -1]].ravel() + 1 for name in ("enter", "leave")])
    cycles = np.unique([*range(0, sheet.last + 36, 18), *corners[corners < sheet.last]])
    inside = held(times, cycles)
    for n in reversed(range(FRAMES)):
        (mine,) = np.nonzero(inside[n])
        if not len(mine):
            continue
        shown = slice(max(mine[0] - 1, 0), mine[-1] + 2)
        points = [
            f"{sheet.x(cycle):.1f} {FLOOR - WORD * level:.1f}"
            for cycle, level in zip(cycles[shown], inside[: n + 1].sum(0)[shown], strict=True)
        ]
        left, right = (sheet.x(cycle) for cycle in cycles[shown][[0, -1]])
        fill, stroke = colours(n)
        sheet.path(
            f"M{left:.1f} {FLOOR}L{' '.join(points)}L{right:.1f} {FLOOR}Z",
            f'fill="{fill}" stroke="{stroke}" stroke-linejoin="round"',
        )
    for words, what in (
        (times["come"].shape[1], "a frame"),
        (design.depths["stem_act_held"], "room for"),
    ):
        y = FLOOR - WORD * words
        sheet.path(f"M{LEFT} {y:.1f}H{WIDTH}", 'fill="none" stroke="#555" stroke-dasharray="2 3"')
        sheet.text(LEFT - 12, y + 4, f"{what}: {words} words", f"{END} {QUIET}")
    sheet.text(LEFT - 12, FLOOR - 40, "words in the buffer", END)
    sheet.path(f"M{LEFT} {FLOOR}H{WIDTH}", 'stroke="#555"')


if __name__ == "__main__":
    main()
