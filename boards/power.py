"""Current that the core of an iCE40UP5K draws, from measurements that were published.

Source: tinyVision.ai, https://github.com/tinyvision-ai-inc/ice40_power, an iCE40UP5K breakout board
with a current meter in each rail. The core's supply is 1.2 V.

What draws current is taken to be the blank device, its clock tree by frequency, each logic cell by
frequency, and each change of a logic cell's output. The first three follow from rows of that table.
What a change draws follows from two counters that are multiplied in logic: the changes in their
netlist were counted by ``bench/power.py``. They are those between clock cycles, without glitches,
which such a multiplier has many of; so pipelines probably draw less for a change.

Block RAMs were not measured and are not covered; nor are pins, oscillators and flash. Of other
families there are no such measurements, and so no figures.
"""

from dataclasses import dataclass


__all__ = ["MEASURED", "PER_TOGGLE", "VOLTS", "Draw", "Measured", "draw", "per_toggle"]

VOLTS = 1.2
BLANK = 85.6
"""µA of a device that does nothing."""

PER_CELL = (641.3 - 613.5) / (228 - 32) / 12
"""µA a MHz of an idle logic cell: two counters of different length, few of whose bits change."""

PER_CLOCK = (613.5 - BLANK) / 12 - 32 * PER_CELL
"""µA a MHz of the clock tree: a counter with an external clock of 12 MHz, less what is no clock."""

PER_BUSY_CELL = (996 - 645) / (208 - 28) / 12
"""µA a MHz of a logic cell of the multiplier: as much as any may draw here."""

PER_TOGGLE = 0.44
"""µA a MHz and change in each cycle: see `per_toggle`."""

PER_MULTIPLIER = ((882 - 645) / 12) - (72 - 28) * PER_CELL
"""µA a MHz of a DSP block that is busy, with what is in front of it taken to be idle."""

PLL = 138.9
"""µA of the PLL, on its own rail."""


@dataclass(frozen=True)
class Measured:
    """A row of the published table: logic cells, clocks in MHz, and current in µA.

    The current is that of the core, and of the PLL's rail where there is a PLL.
    """

    what: str
    cells: int
    clock: float
    microamperes: float
    reference: float | None = None  # of the PLL


MEASURED = (
    Measured("blank", 0, 0, 85.6),
    Measured("external clock, counter of 28 bits", 32, 12, 613.5),
    Measured("external clock, counter of 56 bits", 60, 12, 616.65),
    Measured("external clock, counter of 112 bits", 116, 12, 624.2),
    Measured("external clock, counter of 224 bits", 228, 12, 641.3),
    Measured("internal oscillator, counter of 24 bits", 28, 48, 2184),
    Measured("internal oscillator, counter of 24 bits", 28, 24, 1162),
    Measured("internal oscillator, counter of 24 bits", 28, 12, 645),
    Measured("internal oscillator, counter of 24 bits", 28, 6, 388.4),
    Measured("slow oscillator, counter of 24 bits", 28, 0.01, 96.3),
    Measured("halted clock, counter of 24 bits", 28, 0, 92.1),
    Measured("PLL, counter of 24 bits", 28, 16, 1419 + 138.6, 12),
    Measured("PLL, counter of 24 bits", 28, 32, 2029 + 138.9, 12),
    Measured("PLL, counter of 24 bits", 28, 48, 2573 + 103.6, 12),
)


@dataclass(frozen=True)
class Draw:
    """Current of the core in µA: bounds, and what counted changes give, if they were."""

    low: float
    high: float
    counted: float | None = None


def draw(
    cells: int,
    clock: float,
    *,
    multipliers: int = 0,
    reference: float | None = None,
    toggles: float | None = None,
) -> Draw:
    """Current of the core of an iCE40UP5K.

    Parameters
    ----------
    cells : int
        Logic cells that are used.
    clock, reference : float
        In MHz; the latter of the PLL's input, if there is a PLL, whose rail counts too.
    multipliers : int
        DSP blocks that are used. They are idle at least, and busy at most; half of that is counted.
    toggles : float, optional
        Outputs of logic cells that change in a cycle, on average.

    Returns
    -------
    Draw
        It is lowest where nothing changes, and highest where all cells are as busy as those of a
        multiplier.
    """
    pll = 0.0 if reference is None else PLL + PER_CLOCK * reference
    idle = BLANK + pll + clock * PER_CLOCK
    low = idle + clock * cells * PER_CELL
    busy = clock * multipliers * PER_MULTIPLIER
    high = idle + clock * cells * PER_BUSY_CELL + busy
    counted = None if toggles is None else low + clock * toggles * PER_TOGGLE + busy / 2
    return Draw(low, high, counted)


def per_toggle(toggles: float) -> float:
    """µA a MHz of a change, if the multiplier of 180 cells has so many in a cycle."""
    return 180 * (PER_BUSY_CELL - PER_CELL) / toggles
