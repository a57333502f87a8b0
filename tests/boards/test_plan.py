import json
import re
from pathlib import Path

import pytest

from tests.boards.test_top import tiny_design
from xnorflow.boards.link import describe
from xnorflow.boards.plan import estimate_link, link_resources
from xnorflow.boards.targets import ULX3S_85F
from xnorflow.ir.values import Bit, FeatureMap, UInt


MEASURED = json.loads(
    (Path(__file__).parents[2] / "bench" / "results" / "link.json").read_text(encoding="utf-8")
)["rows"]


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: row["network"])
def test_a_link_is_estimated_within_a_tenth(row):
    height, width, channels, bits, lanes, classes, score_bits = map(
        int, re.findall(r"\d+", row["network"].split(",", 1)[1])
    )
    frame = FeatureMap(height, width, channels, UInt(bits))
    found = estimate_link(frame, lanes=lanes, classes=classes, score_bits=score_bits)
    luts, block_rams = row["synthesised"]
    assert found.luts == pytest.approx(luts, rel=0.1)
    assert found.block_rams == block_rams
    assert [found.luts, found.block_rams] == row["estimated"]


def test_the_link_of_bits_is_that_of_integers_of_one_bit():
    bits, integers = (FeatureMap(4, 5, 2, kind) for kind in (Bit(), UInt(1)))
    found, same = (estimate_link(x, lanes=2, classes=3, score_bits=9) for x in (bits, integers))
    assert found == same


def test_the_link_of_a_design_is_that_of_its_frames_and_scores():
    design = tiny_design(ULX3S_85F)
    info = describe(design, ULX3S_85F.clock)
    assert link_resources(design) == estimate_link(
        info.frame, lanes=info.lanes, classes=info.classes, score_bits=design.score_bits
    )
