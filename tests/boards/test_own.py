"""Boards of users, the one of docs/how-to/own-board.md among them."""

import re
from pathlib import Path

import pytest

from tests.boards.test_top import make_plan
from xnorflow.boards.targets import find_target
from xnorflow.errors import DesignError
from xnorflow.hw.families.ice40 import HX4K


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-board.md"
(EXAMPLE,) = re.findall(r"```py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


@pytest.fixture
def board(tmp_path, monkeypatch):
    """Find the board of a file with this text."""
    monkeypatch.chdir(tmp_path)

    def find(text=EXAMPLE, name="my_board.py:MyBoard"):
        Path("my_board.py").write_text(text)
        return find_target(name)

    return find


def test_the_example_is_a_board(board):
    target = board()
    assert target.device is HX4K
    assert target.name == "myboard"
    assert target.clock == target.oscillator == 12_000_000
    assert target.loader == ("-b", "ice40_generic")
    assert target.busy_led == ("led", 0)
    constraints = make_plan(target)["top.pcf"]
    assert "set_io uart_0__rx__io 62" in constraints


def test_a_platform_of_amaranth_boards_is_one(board):
    text = "from amaranth_boards.tang_nano_9k import TangNano9kPlatform as MyBoard\n"
    target = board(text + "MyBoard.clock = 54_000_000\n")
    assert target.device.name == "GW1N-9C"
    assert target.clock == 54_000_000
    assert "nextpnr-himbaechel-gowin" in make_plan(target)["build_top.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("iCE40HX4K", "iCE40HX9K"), "there is no device 'iCE40HX9K'; did you mean iCE40HX8K or"),
        (('rx="62"', 'xr="62"'), "my_board.py cannot be run: TypeError: UARTResource() "),
        (("UARTResource(0", "UARTResource(1"), "my_board.py:MyBoard: Resource uart#0 does not"),
        (('"clk12"\n', '"clk13"\n'), "my_board.py:MyBoard: Resource clk13#0 does not exist"),
        ((", Clock(12e6)", ""), "my_board.py:MyBoard: its default_clk has no frequency: give it a"),
        (("class MyBoard", "class Mine"), "my_board.py has no platform of Amaranth called MyBoard"),
        (('"led", 0', '"lad", 0'), "my_board.py:MyBoard: Resource lad#0 does not exist"),
        (("package =", "pack ="), "my_board.py:MyBoard lacks package"),
    ],
    ids=lambda change: change[0].strip() if isinstance(change, tuple) else "",
)
def test_a_fault_is_one_sentence(board, change, message):
    assert change[0] in EXAMPLE
    with pytest.raises(DesignError, match=f"^{re.escape(message)}"):
        board(EXAMPLE.replace(*change))


def test_a_name_that_is_none(board):
    with pytest.raises(DesignError, match=r"^a board of your own is called my_board\.py:MyBoard,"):
        board(name="my_board.py")
    with pytest.raises(DesignError, match=r"^there is no file other\.py$"):
        board(name="other.py:MyBoard")
