"""Place and route Brevitas' CNV with activations of 2 bits, beside BNN-PYNQ's accelerators.

    python bench/low_bit_cnv.py              # both
    python bench/low_bit_cnv.py cnv_1w2a     # only this one

Networks are those of bench/conformance.py, which exports them to build/qonnx; bitstreams have the
UART link. BNN-PYNQ's figures are those of its README, on a Zynq 7020, whose look-up tables have six
inputs. Adds to results/low_bit_cnv.json.
"""

import sys

from conformance import FOLDER, export
from designs import ECP5_85F, Case
from place import PACKAGES, placed
from record import update
from rich.console import Console

from xnorflow.sw.data import Dataset, load
from xnorflow.sw.frontend.qonnx.importing import import_onnx


CASES = {
    "cnv_1w2a": Case(ECP5_85F, 16_200, 50_000_000),
    "cnv_2w2a": Case(ECP5_85F, 82_944, 50_000_000),
}
BNN_PYNQ = {
    "cnv_1w2a": {"peer_luts": 40_321, "peer_frames_per_second": 9_150},
    "cnv_2w2a": {"peer_luts": 37_302, "peer_frames_per_second": 2_580},
}


def main() -> None:
    """Build, print and record."""
    console = Console()
    for name in sys.argv[1:] or CASES:
        path = FOLDER / f"{name}.onnx"
        if not path.exists():
            FOLDER.mkdir(parents=True, exist_ok=True)
            export(name, load(Dataset.CIFAR10), path)
        row = placed(name, import_onnx(path).network, CASES[name]) | BNN_PYNQ[name]
        console.print(row)
        update("low_bit_cnv", "python bench/low_bit_cnv.py", [*PACKAGES, "brevitas", "onnx"], row)


if __name__ == "__main__":
    main()
