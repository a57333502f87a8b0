from types import SimpleNamespace

import pytest

from xnorflow.boards import ports
from xnorflow.boards.ports import find_port
from xnorflow.errors import LinkError


@pytest.fixture
def plugged(monkeypatch):
    """Set the serial ports that there are, and those on which a board answers."""

    def set_ports(found, answering):
        listed = [SimpleNamespace(device=name, vid=vid) for name, vid in found.items()]
        monkeypatch.setattr(ports.list_ports, "comports", lambda: listed)

        def open_board(port, **_):
            if port not in answering:
                raise LinkError(f"{port}: the board does not answer")
            return SimpleNamespace(close=lambda: None)

        monkeypatch.setattr(ports, "Board", open_board)

    return set_ports


def test_finds_the_port_that_answers(plugged):
    plugged({"/dev/ttyS0": None, "/dev/ttyUSB0": 0x403, "/dev/ttyUSB1": 0x403}, {"/dev/ttyUSB1"})
    assert find_port() == "/dev/ttyUSB1"


def test_says_that_there_is_no_adapter(plugged):
    plugged({"/dev/ttyS0": None}, {"/dev/ttyS0"})
    with pytest.raises(LinkError, match=r"^there is no USB-UART: plug the board in, or name its "):
        find_port()


def test_says_that_none_answers(plugged):
    plugged({"A": 1, "B": 2}, ())
    message = r"^no board answers: A: the board does not answer; B: the board does not answer$"
    with pytest.raises(LinkError, match=message):
        find_port()
