"""Random windows of convolutions and pools, of all that the contract knows."""

from xnorflow.ir import BinaryConv, Bit, Gate, IntegerConv, MaxPool
from xnorflow.ir.windows import Axis


__all__ = ["random_axis", "random_conv", "random_pool", "random_windows", "windows_by"]


def random_axis(rng, side, *, most=11, even=False, dilated=True):
    """Windows along a side of so many pixels, of up to ``most`` taps; ``even``: padded alike."""
    while True:
        taps = int(rng.integers(1, most + 1))
        dilation = int(rng.integers(1, 4)) if dilated and rng.random() < 0.4 else 1
        span = (taps - 1) * dilation + 1
        before, after = (int(rng.integers(0, min(span, 5))) for _ in range(2))
        after = before if even else after
        axis = Axis(taps, int(rng.integers(1, 4)), before, after, dilation)
        if axis.count(side) >= 1:
            return axis


def windows_by(rows, columns):
    """Fields of a node, or of a layer, whose axes are these."""
    return {
        "stride": (rows.stride, columns.stride),
        "padding": (rows.before, rows.after, columns.before, columns.after),
        "dilation": (rows.dilation, columns.dilation),
    }


def random_windows(rng, x, **options):
    """Kernel (rows, columns) and fields of a convolution of ``x``."""
    rows, columns = (random_axis(rng, side, **options) for side in (x.height, x.width))
    return (rows.taps, columns.taps), windows_by(rows, columns)


def random_conv(rng, x, *, grouped=True, **options):
    """Convolution of ``x`` of any form, named ``conv``, which ``x`` feeds."""
    kernel, windows = random_windows(rng, x, **options)
    divisors = [n for n in range(1, x.channels + 1) if x.channels % n == 0]
    groups = int(rng.choice(divisors)) if grouped else 1
    shape = groups * int(rng.integers(1, 4)), *kernel, x.channels // groups
    windows |= {"groups": groups}
    if not isinstance(x.type, Bit) or rng.random() < 0.3:
        return IntegerConv("conv", "input", rng.integers(-128, 128, shape), **windows)
    popcount = groups == 1 and bool(rng.integers(2))
    return BinaryConv(
        "conv", "input", rng.random(shape) < 0.5, **windows,
        gate=rng.choice(list(Gate)), popcount=popcount,
    )  # fmt: skip


def random_pool(rng, kind, x, name="pool", source="input", **options):
    """Pool of ``x`` of any form, a `MaxPool` or a `SumPool`."""
    size, windows = random_windows(rng, x, dilated=False, **options)
    del windows["dilation"]
    some = kind is MaxPool and rng.random() < 0.5
    inverted = {"inverted": rng.random(x.channels) < 0.5} if some else {}
    return kind(name, source, size, **windows, **inverted)
