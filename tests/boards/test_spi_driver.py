"""The C driver, compiled, against the RTL of a board with an SPI link."""

import ctypes
import random
import shutil
import subprocess
import threading
from pathlib import Path
from queue import Queue

import numpy as np
import pytest
from amaranth import ResetInserter, Signal
from amaranth.sim import Simulator

from tests.boards.controller import Controller
from tests.hw.networks import random_mlp
from xnorflow.boards.link import LinkTop, describe
from xnorflow.boards.protocol import Command, Info, Status
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.families.ice40 import HX1K
from xnorflow.hw.ops.folding import Folding
from xnorflow.sw.golden import golden


HEADER = Path(__file__).parents[2] / "boards" / "driver" / "xnorflow.h"
CLOCK = 12_000_000
NETWORK = random_mlp(2, side=3, widths=(6, 4), classes=3)
DESIGN = plan(NETWORK, dict.fromkeys(("fc1", "fc2", "fc3"), Folding(1, 1)), 1, HX1K)
FRAMES = np.random.default_rng(0).integers(0, 256, (3, 3, 3, 1), np.uint8)
FRAMES[0, 1] = 0  # zeros are what COBS takes out

SHIM = """
#include "xnorflow.h"
int ask(uint8_t (*exchange)(void *, uint8_t), void (*select)(void *, int), uint8_t attempts,
        uint8_t sequence, uint8_t command, const uint8_t *payload, size_t size,
        uint8_t *body, size_t room, size_t *length) {
    const struct xnorflow board = {exchange, select, NULL, 120, attempts};
    if (command == XNORFLOW_CLASSIFY)
        return xnorflow_classify(&board, sequence, payload, size, body, room, length);
    return xnorflow_ask(&board, sequence, command, payload, size, body, room, length);
}
int32_t word(const uint8_t *body, size_t index) { return (int32_t)xnorflow_word(body, index); }
"""
EXCHANGE = ctypes.CFUNCTYPE(ctypes.c_uint8, ctypes.c_void_p, ctypes.c_uint8)
SELECT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "shim.c").write_text(SHIM)
    warnings = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    shared = ["-O1", "-shared", "-fPIC", f"-I{HEADER.parent}", "-o", "driver.so"]
    command = [compiler, *warnings, *shared, "shim.c"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "driver.so"))


class Board:
    """A simulated board, to which a script in another thread talks through the driver.

    ``spoil(number, byte)`` gives what arrives of the byte with this number, either way.
    """

    def __init__(self, driver, spoil=lambda _, byte: byte):
        self._driver = driver
        self._spoil = spoil
        self._wanted, self._done = Queue(), Queue()
        self.sent = 0

    def ask(self, sequence, command, payload=b"", *, room=100, attempts=5):
        """Outcome of a request, and the body of its reply."""
        exchange = EXCHANGE(lambda _, byte: self._do("exchange", byte))
        select = SELECT(lambda _, selected: self._do("select", selected))
        body, length = (ctypes.c_uint8 * 100)(), ctypes.c_size_t()
        outcome = self._driver.ask(
            exchange, select, attempts, sequence, command, payload, ctypes.c_size_t(len(payload)),
            body, ctypes.c_size_t(room), ctypes.byref(length),
        )  # fmt: skip
        return outcome, bytes(body)[: length.value]

    def reset(self):
        """Reset the board."""
        self._do("reset", 0)

    def scores(self, body):
        """Label and scores of a body."""
        words = [self._driver.word(body, ctypes.c_size_t(n)) for n in range(2 + DESIGN.classes)]
        return words[0], words[2:]

    def run(self, script):
        """Simulate while ``script(board)`` runs."""
        top, rst = LinkTop(DESIGN, clock=CLOCK), Signal()
        errors = []

        def talk():
            try:
                script(self)
            except BaseException as error:  # raised below, in the tests' thread
                errors.append(error)
            self._wanted.put(None)

        async def serve(ctx):
            controller = Controller(ctx, top)
            await ctx.tick().repeat(4)
            while (wanted := self._wanted.get()) is not None:
                what, value = wanted
                if what == "reset":
                    ctx.set(rst, 1)
                    await ctx.tick()
                    ctx.set(rst, 0)
                    self._done.put(None)
                elif what == "select":
                    self._done.put(await controller.select(value))
                else:
                    came = await controller.exchange(self._spoil(self.sent, value))
                    self._done.put(came)
                    self.sent += 1

        simulator = Simulator(ResetInserter(rst)(top))
        simulator.add_clock(1e-6)
        simulator.add_testbench(serve)
        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        simulator.run()
        thread.join()
        if errors:
            raise errors[0]

    def _do(self, what, value):
        self._wanted.put((what, value))
        return self._done.get() or 0


def check(board, n, sequence):
    """Classify a frame, and compare with the golden model."""
    outcome, body = board.ask(sequence, Command.CLASSIFY, FRAMES[n].tobytes())
    assert outcome == Status.OK
    expected = golden(NETWORK, FRAMES[n : n + 1])
    assert board.scores(body) == (expected.labels[0], expected.scores[0].tolist())


def test_describes_and_classifies(driver):
    def script(board):
        outcome, body = board.ask(1, Command.INFO)
        assert outcome == Status.OK
        assert Info.unpack(body) == describe(DESIGN, CLOCK)
        for n in range(len(FRAMES)):
            check(board, n, 2 + n)
        assert board.ask(9, 77)[0] == Status.UNKNOWN_COMMAND
        assert board.ask(10, Command.CLASSIFY, b"123")[0] == Status.BAD_LENGTH
        assert board.ask(11, Command.INFO, room=10)[0] == -2

    Board(driver).run(script)


def test_asks_again_for_what_is_damaged(driver):
    rng = random.Random(1)
    spoilt = set(rng.sample(range(120), 3))
    board = Board(driver, lambda n, byte: byte ^ 0x20 if n in spoilt else byte)

    def script(board):
        for n in range(2):
            check(board, n, 1 + n)

    board.run(script)


def test_an_answer_that_never_comes(driver):
    def script(board):
        assert board.ask(1, Command.INFO, attempts=1)[0] == -1

    Board(driver, lambda _, __: 0).run(script)


def test_goes_on_after_a_reset(driver):
    def script(board):
        check(board, 0, 1)
        board.reset()
        check(board, 1, 2)

    Board(driver).run(script)
