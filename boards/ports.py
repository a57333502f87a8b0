"""Finds the serial port that a board answers on."""

from serial.tools import list_ports

from xnorflow.boards.host import BAUD, Board
from xnorflow.errors import LinkError


__all__ = ["find_port"]

_TIMEOUT = 0.3  # seconds that a board has to answer, five times


def find_port(baud: int = BAUD) -> str:
    """Return the port of the first USB-UART with a board of ours behind it, at this rate.

    Raises
    ------
    LinkError
        If there is no USB-UART, or nothing answers on any.
    """
    ports = sorted(port.device for port in list_ports.comports() if port.vid is not None)
    if not ports:
        raise LinkError("there is no USB-UART: plug the board in, or name its port with --port")
    problems = []
    for port in ports:
        try:
            Board(port, baud=baud, timeout=_TIMEOUT).close()
        except LinkError as error:
            problems.append(str(error))
        else:
            return port
    raise LinkError(f"no board answers: {'; '.join(problems)}")
