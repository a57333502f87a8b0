import json
import re
from pathlib import Path

import pytest

from tests.boards.test_top import tiny_design
from tests.hw.networks import random_mlp
from xnorflow.boards.link import describe
from xnorflow.boards.plan import choose_for, estimate_link, link_resources, smallest_design
from xnorflow.boards.targets import ICEBREAKER, ULX3S_85F
from xnorflow.hw.compile.estimate import estimate
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


def test_a_design_for_a_board_leaves_room_for_the_link():
    network = random_mlp(1, side=8, widths=(32,), classes=10)
    bare, linked = (
        choose_for(network, ICEBREAKER, fastest=True, linked=linked) for linked in (False, True)
    )
    assert bare.cycles_per_frame < linked.cycles_per_frame
    assert (estimate(linked) + link_resources(linked)).luts <= ICEBREAKER.device.luts


def test_a_rate_is_one_at_the_board_s_clock_unless_another_is_given():
    network = random_mlp(1, side=8, widths=(32,), classes=10)
    usual, slower = (
        choose_for(network, ICEBREAKER, clock=clock, fps=ICEBREAKER.clock / 60)
        for clock in (None, ICEBREAKER.clock // 5)
    )
    assert 12 < usual.cycles_per_frame <= 60
    assert slower.cycles_per_frame <= 12


def test_the_smallest_board_with_room_is_chosen():
    wide = random_mlp(1, side=16, widths=(512, 512), classes=10)
    devices = [smallest_design(network).device for network in (random_mlp(1, popcount=True), wide)]
    assert devices == [ICEBREAKER.device, ULX3S_85F.device]
