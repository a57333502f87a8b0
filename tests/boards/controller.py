"""An SPI controller in Amaranth's simulator."""

from xnorflow.boards.spi import MIN_RATIO


class Controller:
    """Drives the pins of a peripheral, ``dut``, with a serial clock of ``ratio`` clock cycles."""

    def __init__(self, ctx, dut, ratio=MIN_RATIO):
        self.ctx = ctx
        self._dut = dut
        self._ratio = ratio

    async def select(self, selected):
        """Drive ``cs``, and wait for a period of the serial clock."""
        self.ctx.set(self._dut.cs, selected)
        await self.ctx.tick().repeat(self._ratio)

    async def exchange(self, byte, bits=8):
        """Send bits of a byte, the highest first; gives those that come at the rising edges."""
        came = 0
        for n in range(bits):
            self.ctx.set(self._dut.copi, byte >> (7 - n) & 1)
            await self.ctx.tick().repeat(self._ratio - self._ratio // 2)
            came = came << 1 | self.ctx.get(self._dut.cipo)
            self.ctx.set(self._dut.sck, 1)
            await self.ctx.tick().repeat(self._ratio // 2)
            self.ctx.set(self._dut.sck, 0)
        return came

    async def transfer(self, content):
        """Exchange bytes while selected."""
        await self.select(1)
        came = [await self.exchange(byte) for byte in content]
        await self.select(0)
        return bytes(came)
