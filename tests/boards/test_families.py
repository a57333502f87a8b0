"""A bitstream of each family by its own tools, and a netlist for every other board."""

import json

import pytest

from tests.boards.test_top import tiny_design
from xnorflow.boards.build import Stage, build
from xnorflow.boards.targets import TARGETS, find_target
from xnorflow.hw.families.device import Cell


PLACED = {
    "ice40-hx8k": b"\x7e\xaa\x99\x7e",
    "orangecrab-25f": b"\xbd\xb3",
    "tang-nano-9k": b"1010010111000011",
    "tang-primer-25k": b"1010010111000011",
    "gatemate-a1-evb": b"\xd9\x01\xed\x96",
}
"""Boards, and the words by which their bitstreams are known."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACED)
def test_a_bitstream_of_each_family(tmp_path, name):
    target = find_target(name)
    report = build(tiny_design(target), target, tmp_path)
    content = report.bitstream.read_bytes()
    assert len(content) > 50_000
    assert PLACED[name] in content[:400]
    assert 500 < report.usage[Cell.LUT].used < 2500
    assert report.usage[Cell.BLOCK_RAM].used == 1
    assert report.usage[Cell.BLOCK_RAM].available == target.device.block_rams
    assert report.usage[Cell.LUT].available == target.device.luts
    assert report.timing.fmax > report.clock


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", [t for t in TARGETS if t.name not in PLACED], ids=lambda t: t.name
)
def test_a_netlist_for_every_other_board(tmp_path, target):
    def stop(stage):
        if stage is Stage.PLACE_AND_ROUTE:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tiny_design(target), target, tmp_path, progress=stop)
    cells = json.loads((tmp_path / "top.json").read_text())["modules"]["top"]["cells"]
    assert len(cells) > 1000
