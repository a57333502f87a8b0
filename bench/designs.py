"""A design for each network of the zoo, to be simulated, and placed and routed."""

from dataclasses import dataclass, replace

from xnorflow.boards.plan import link_resources
from xnorflow.boards.targets import ICEBREAKER, ULX3S_85F, Target
from xnorflow.hw.compile.design import Design
from xnorflow.hw.compile.fold import FILL, fold
from xnorflow.hw.families.device import Device
from xnorflow.ir import Network


__all__ = ["DESIGNS", "Case"]

UP5K, ECP5_85F = ICEBREAKER.device, ULX3S_85F.device
LARGER = replace(ECP5_85F, name="LFE5U-85F with twice its block RAMs", block_rams=416)
"""For a network that no board here has the block RAMs for."""


@dataclass(frozen=True)
class Case:
    """The device of a design, the cycles that a frame may take, and the clock that a board has."""

    device: Device
    cycles: int
    clock: int | None = None
    """In Hz; none where the design is not placed."""
    fill: float = FILL
    """Part of the device's look-up tables that it may use."""

    @property
    def target(self) -> Target:
        """The board with that device."""
        return next(target for target in (ICEBREAKER, ULX3S_85F) if target.device == self.device)

    def fold(self, network: Network) -> Design:
        """Design of a network, with room for the link to the host where it is placed."""
        beside = None if self.clock is None else link_resources
        return fold(network, self.device, cycles=self.cycles, fill=self.fill, beside=beside)


DESIGNS = {
    "mnist-tfc-sign": Case(UP5K, 784, 12_000_000),
    "mnist-tfc-adabin": Case(UP5K, 784, 12_000_000),
    "mnist-tfc-siman": Case(UP5K, 784, 12_000_000),
    "mnist-tfc-w1a2": Case(UP5K, 784, 12_000_000),
    "mnist-sfc-sign": Case(ECP5_85F, 98, 100_000_000),
    "mnist-lfc-sign": Case(ECP5_85F, 4_096),
    "mnist-conv-up5k": Case(UP5K, 4_800, 24_000_000, fill=0.9),
    "fashion-lfc-adabin": Case(ECP5_85F, 4_096),
    "fashion-conv": Case(ECP5_85F, 20_000, 50_000_000),
    "fashion-small-reactnet": Case(ECP5_85F, 14_112, 50_000_000),
    "fashion-small-dybnn": Case(ECP5_85F, 14_112, 50_000_000),
    "har-dscnn-w1a1": Case(UP5K, 9_216, 24_000_000, fill=0.9),
    "cifar10-cnv": Case(ECP5_85F, 7_200, 60_000_000),
    "cifar10-resnet20-adabin": Case(ECP5_85F, 9_216, 50_000_000),
    "cifar10-resnet20-reactnet": Case(ECP5_85F, 18_432),
    "cifar10-resnet20-siman": Case(ECP5_85F, 18_432),
    "cifar10-resnet20-siman-bipolar": Case(ECP5_85F, 18_432),
    "cifar10-resnet20-dybnn": Case(LARGER, 18_432),
}
