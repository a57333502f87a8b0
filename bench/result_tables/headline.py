"""The rows of README.md: five networks of the zoo, from accuracy to frames a second."""

from record import read_rows
from result_tables.table import section

from xnorflow.boards.targets import find_target


__all__ = ["headline"]

NETWORKS = (
    "mnist-tfc-sign",
    "mnist-sfc-sign",
    "mnist-conv-up5k",
    "cifar10-cnv",
    "cifar10-resnet20-adabin",
)


def headline() -> str:
    """Five networks, from accuracy to frames a second."""
    accuracy, rtl, place = (
        {row["network"]: row for row in read_rows(name)} for name in ("accuracy", "rtl", "place")
    )
    return section(
        "Accuracy of the integers on all test images, and the scores of simulated RTL that differ "
        "from them; placed and routed with the UART link, at the highest clock that nextpnr "
        "reports.",
        ["network", "board", "accuracy", "RTL scores that differ", "LUTs", "block RAMs", "clock",
         "frames/s"],
        [
            [
                name,
                find_target(place[name]["board"]).title,
                f"{accuracy[name]['accuracy']:.2%}",
                f"{rtl[name]['scores_differing']} on {rtl[name]['images']:,} images",
                f"{place[name]['lut'][0]:,}",
                str(place[name]["block_ram"][0]),
                f"{place[name]['fmax_mhz']:.0f} MHz",
                f"{place[name]['frames_per_second']:,}",
            ]
            for name in NETWORKS
        ],
    )  # fmt: skip
