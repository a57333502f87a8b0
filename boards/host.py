"""The host's side of the link: talk to a board, or to the virtual one, over a serial port."""

import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import serial
from numpy.typing import NDArray

from xnorflow.boards.line import BAUD
from xnorflow.boards.protocol import (
    Command,
    Info,
    PacketError,
    Status,
    Weights,
    decode_reply,
    encode_request,
    fingerprint,
)
from xnorflow.errors import LinkError
from xnorflow.frames import frame_bytes
from xnorflow.ir import Network, Quantisation


__all__ = ["BAUD", "Board", "Results"]

_ATTEMPTS = 5
_POLL = 0.05  # seconds that a read waits, so that deadlines are kept


@dataclass(frozen=True)
class Results:
    """Answers of a board about n frames.

    Attributes
    ----------
    labels : int64 array, (n,), or None
        Indices of the classes; None if the network delivers no labels.
    scores : int32 array, (n, classes)
    cycles : int64 array, (n,)
        Clock cycles from the transfer of each frame's last word to its result.
    """

    labels: NDArray[np.int64] | None
    scores: NDArray[np.int32]
    cycles: NDArray[np.int64]


class Board:
    """A board that executes a network. Use it in a ``with`` statement, or call `close`.

    What gets lost or damaged on the line is asked for again.

    Parameters
    ----------
    port : str
        Serial port (``/dev/ttyUSB1``, ``COM4``, a pseudo-terminal), or any URL of pyserial.
    baud : int or None
        Bits per second; None for a line that has no rate, such as a pseudo-terminal, which some
        systems do not let be opened at this one.
    timeout : float
        Seconds that a reply may take, beyond what the line needs.

    Attributes
    ----------
    info : Info
        What is on the board.
    retries : int
        How often something had to be asked for again.

    Raises
    ------
    LinkError
        If the port cannot be opened, or nothing that speaks this protocol answers.
    """

    def __init__(self, port: str, *, baud: int | None = BAUD, timeout: float = 2.0) -> None:
        self.port = port
        self.retries = 0
        self._seconds_per_byte = 0.0 if baud is None else 10 / baud
        self._timeout = timeout
        self._sequence = 0
        self._received = bytearray()
        try:
            # Without a rate, it is one that every terminal has.
            rate = {} if baud is None else {"baudrate": baud}
            self._serial = serial.serial_for_url(port, timeout=_POLL, exclusive=True, **rate)
        except (OSError, ValueError) as error:
            raise LinkError(f"{port} cannot be opened: {_reason(error)}") from None
        try:
            self.info = self._describe()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Board":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the port."""
        self._serial.close()

    def check(self, network: Network) -> None:
        """Make sure that the board runs ``network``.

        Raises
        ------
        LinkError
            If it runs another one.
        """
        wanted = fingerprint(network)
        if self.info.runtime_weights:
            weights = self.weights()
            if not weights.valid:
                raise LinkError(f"{self.port}: the latest load failed: load a network first")
            if weights.crc == wanted[: len(weights.crc)]:
                return
            raise LinkError(
                f"{self.port}: the board has other weights than those of {network.name}: load them"
            )
        if self.info.fingerprint != wanted:
            raise LinkError(
                f"{self.port}: the board runs another network ({self.info.name}) than "
                f"{network.name}: build and load its bitstream"
            )

    def classify(
        self,
        frames: NDArray[Any],
        *,
        quantisation: Quantisation | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Results:
        """Classify frames.

        Parameters
        ----------
        frames : array of integers, (n, height, width, channels)
            Raw pixels; with a ``quantisation`` also floating-point numbers.
        quantisation : Quantisation, optional
            That of the network.
        progress : callable
            Called with the number of frames done, after each.

        Raises
        ------
        DataError
            If the frames are not what the network on the board takes.
        LinkError
            If the board does not answer.
        """
        payloads = frame_bytes(frames, self.info.frame, quantisation)
        labelled, classes = self.info.labelled, self.info.classes
        reply = struct.Struct(f"<{1 + labelled}I{classes}i")
        words = np.empty((len(frames), 1 + labelled + classes), np.int64)
        for n, payload in enumerate(payloads):
            body = self._ask(Command.CLASSIFY, payload.tobytes())
            if len(body) != reply.size:
                raise LinkError(f"{self.port}: a result has {len(body)} bytes, not {reply.size}")
            words[n] = reply.unpack(body)
            if progress is not None:
                progress(n + 1)
        return Results(
            labels=words[:, 0] if labelled else None,
            scores=words[:, -classes:].astype(np.int32),
            cycles=words[:, int(labelled)],
        )

    def weights(self) -> Weights:
        """Ask which weights are on a board whose weights can be loaded.

        Raises
        ------
        LinkError
            If the board does not answer, or has weights that are fixed.
        """
        if not self.info.runtime_weights:
            raise LinkError(
                f"{self.port}: the weights of {self.info.name} are fixed: build it with "
                "--weights runtime"
            )
        try:
            return Weights.unpack(self._ask(Command.WEIGHTS))
        except PacketError as error:
            raise LinkError(f"{self.port}: {error}") from None

    def load(self, image: bytes) -> None:
        """Replace the weights, and see that they are there.

        Parameters
        ----------
        image : bytes
            What `xnorflow.hw.compile.weights.load_image` gives for the design on the board.

        Raises
        ------
        LinkError
            If the load is for another design, does not arrive, or the board's weights are fixed.
        """
        digest = self.weights().digest
        if image[: len(digest)] != digest:
            raise LinkError(
                f"{self.port}: these weights are for another design than the one on the board, "
                f"which was built for {self.info.name}"
            )
        self._ask(Command.LOAD, image)
        weights = self.weights()
        if not weights.valid or weights.crc != image[-len(weights.crc) :]:
            raise LinkError(f"{self.port}: the board has not taken the weights: load them again")

    def _describe(self) -> Info:
        try:
            return Info.unpack(self._ask(Command.INFO))
        except PacketError as error:
            raise LinkError(f"{self.port}: {error}") from None

    def _ask(self, command: Command, payload: bytes = b"") -> bytes:
        """Return the body of the reply to a request.

        The sequence number tells this reply from late ones. A request that is repeated keeps its
        number, since its replies are alike.
        """
        self._sequence = self._sequence % 255 + 1  # never 0, which refusals of noise have
        request = encode_request(self._sequence, command, payload)
        time_to_send = self._seconds_per_byte * len(request)
        problem = ""
        for attempt in range(_ATTEMPTS):
            self.retries += attempt > 0
            try:
                self._serial.write_timeout = time_to_send + self._timeout
                self._serial.write(request)
                return self._await_reply(command, time_to_send=time_to_send)
            except PacketError as error:
                problem = str(error)
            except serial.SerialTimeoutException:
                raise LinkError(f"{self.port}: nothing takes what is sent") from None
            except OSError as error:
                raise LinkError(f"{self.port}: the connection broke: {_reason(error)}") from None
        raise LinkError(f"{self.port}: the board does not answer: {problem}")

    def _await_reply(self, command: Command, *, time_to_send: float) -> bytes:
        deadline = time.monotonic() + time_to_send + self._timeout
        while True:
            reply = decode_reply(self._read_packet(deadline))
            if reply.sequence != self._sequence:
                continue
            if reply.status in (Status.BAD_CRC, Status.BAD_FRAMING, Status.BAD_WEIGHTS):
                raise PacketError("requests arrive damaged")
            if reply.command != command:
                continue
            if reply.status is not Status.OK:
                refusal = reply.status.name.replace("_", " ").lower()
                raise LinkError(f"{self.port}: the board refuses a request: {refusal}")
            return reply.body

    def _read_packet(self, deadline: float) -> bytes:
        """Return what comes between two delimiters, as it came.

        Raises
        ------
        PacketError
            If nothing has come by the deadline, in seconds of the monotonic clock.
        """
        while True:
            encoded, delimiter, rest = self._received.partition(b"\0")
            if delimiter:
                self._received = rest
                if encoded:
                    return bytes(encoded)
            elif time.monotonic() > deadline:
                raise PacketError(f"no reply within {self._timeout:g} s")
            else:
                self._received += self._serial.read(max(1, self._serial.in_waiting))


def _reason(error: Exception) -> str:
    """Words of the operating system for an error."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)
