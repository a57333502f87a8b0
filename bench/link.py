"""Size of the host link beside an accelerator, measured and as `xnorflow.boards.plan` estimates it.

    python bench/link.py

Synthesises and packs links without an accelerator behind them, which differ in one thing each, and
writes results/link.json. What is counted says bench/synthesis.py.
"""

from dataclasses import dataclass

from record import update
from rich.console import Console
from synthesis import PACKAGES, measure_component

from xnorflow.boards.link import Link
from xnorflow.boards.plan import estimate_link
from xnorflow.boards.protocol import Info
from xnorflow.hw.families.device import Device
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.hw.families.ice40 import UP5K
from xnorflow.ir.values import FeatureMap, UInt


FRAME = FeatureMap(28, 28, 1, UInt(8))


@dataclass(frozen=True)
class Case:
    """Properties that decide the size of a link."""

    frame: FeatureMap = FRAME
    lanes: int = 1
    classes: int = 10
    score_bits: int = 12


CASES = (
    Case(),
    Case(classes=2),
    Case(classes=100),
    Case(score_bits=8),
    Case(score_bits=24),
    Case(lanes=16),
    Case(lanes=64),
    Case(FeatureMap(28, 28, 1, UInt(1)), lanes=64),
    Case(FeatureMap(224, 224, 3, UInt(8)), lanes=3),
)


def main() -> None:
    """Synthesise, compare, print and record."""
    console = Console()
    for device in (UP5K, ECP5_85F):
        for case in CASES:
            row = measure(case, device)
            console.print(row)
            update("link", "python bench/link.py", PACKAGES, row)


def measure(case: Case, device: Device) -> dict[str, object]:
    """Row of a link."""
    frame = case.frame
    info = Info(
        frame=frame, classes=case.classes, lanes=case.lanes, clock=12_000_000,
        cycles_per_frame=784, fingerprint=bytes(range(40, 48)), name="mnist-tfc-sign",
    )  # fmt: skip
    link = Link(
        info,
        score_bits=case.score_bits,
        divisor=12,
        cycle_bits=16,
    )
    found = measure_component(link, device)
    guess = estimate_link(frame, lanes=case.lanes, classes=case.classes, score_bits=case.score_bits)
    shape = "×".join(map(str, frame.shape))
    return {
        "network": f"{device.name}, {shape} pixels of {frame.type.bits} bits, "
        f"{case.lanes} a word, {case.classes} scores of {case.score_bits} bits",
        "estimated": [guess.luts, guess.block_rams],
        "synthesised": [found.luts, found.block_rams],
    }


if __name__ == "__main__":
    main()
