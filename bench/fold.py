"""The fewest cycles a frame that fit, for each network of the zoo on its board, and the time taken.

    python bench/fold.py                     # all networks
    python bench/fold.py cifar10-cnv         # only this one

Folds with room for the link to the host, and writes results/fold.json.
"""

import sys
import time
from pathlib import Path

from designs import DESIGNS
from record import update
from rich.console import Console

from xnorflow.boards.plan import choose_for, link_resources
from xnorflow.boards.targets import TARGETS, ULX3S_85F
from xnorflow.errors import DesignError
from xnorflow.hw.compile.estimate import estimate
from xnorflow.ir.xnf import load


def main() -> None:
    """Fold, print and record."""
    console = Console()
    for path in sorted(Path("zoo").glob("*.xnf")):
        if sys.argv[1:] and path.stem not in sys.argv[1:]:
            continue
        device = DESIGNS[path.stem].device
        target = next((t for t in TARGETS if t.device == device), ULX3S_85F)
        network = load(path)
        begin = time.process_time()
        try:
            design = choose_for(network, target, fastest=True)
        except DesignError as error:
            found = {"fits": False, "refused": str(error)}
        else:
            need = estimate(design) + link_resources(design)
            found = {
                "fits": True,
                "cycles_per_frame": design.cycles_per_frame,
                "luts": need.luts,
                "block_rams": need.block_rams,
                "multipliers": need.multipliers,
            }
        seconds = round(time.process_time() - begin, 2)
        row = {"network": path.stem, "board": target.title, "seconds": seconds, **found}
        console.print(row)
        update("fold", "python bench/fold.py", ["amaranth", "numpy"], row)


if __name__ == "__main__":
    main()
