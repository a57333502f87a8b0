"""The packets of the host link, as the host writes and reads them: see docs/reference/link.md.

A request is (sequence, command, payload, CRC), a reply (sequence, command, status, body, CRC).
Each packet is COBS-encoded, so that it has no zero byte, and stands between zero bytes.
"""

import hashlib
import struct
from binascii import crc_hqx
from dataclasses import dataclass
from enum import IntEnum, unique

from xnorflow.errors import NetworkError
from xnorflow.ir import FeatureMap, Int, Network, UInt, ValueType, xnf


__all__ = [
    "CRC_BYTES",
    "DELIMITER",
    "VERSION",
    "Command",
    "Info",
    "PacketError",
    "Reply",
    "Status",
    "Weights",
    "cobs_decode",
    "cobs_encode",
    "decode_reply",
    "encode_request",
    "fingerprint",
    "packet",
]

VERSION = 1
"""Version of the protocol, which the board tells with `Info`."""

CRC_BYTES = 2
DELIMITER = b"\0"

_BLOCK = 254  # most bytes in a block of COBS
_SIGNED = 1 << 8  # of a pixel's type: its bits are in two's complement
_NO_LABEL = 1 << 31  # of the number of scores: no label comes with them
_RUNTIME = 1 << 30  # of the same: other weights can be loaded


class PacketError(Exception):
    """A packet was damaged on its way."""


@unique
class Command(IntEnum):
    """Requests of the host."""

    INFO = 1
    """Tell what is on the board. No payload; the body is an `Info`."""

    CLASSIFY = 2
    """Execute the network on the frame in the payload.

    The body is the label, if there is one, cycles and scores, 32 bits each.
    """

    LOAD = 3
    """Replace the weights by those in the payload, a load. No body."""

    WEIGHTS = 4
    """Tell which weights are on the board. No payload; the body is a `Weights`."""


@unique
class Status(IntEnum):
    """Outcome of a request. Anything but `OK` has no body."""

    OK = 0
    BAD_CRC = 1
    """The request's CRC does not match."""

    BAD_FRAMING = 2
    """The request is not valid COBS, or bytes of it were lost."""

    UNKNOWN_COMMAND = 3
    BAD_LENGTH = 4
    """The payload is not as long as the command wants it."""

    NO_WEIGHTS = 5
    """The latest load has failed, and left no weights."""

    BAD_WEIGHTS = 6
    """The load is for another design, or its CRC does not match."""


@dataclass(frozen=True)
class Info:
    """Facts about the design on a board.

    Attributes
    ----------
    frame : FeatureMap
        Shape and type of a frame. Pixels travel in whole bytes, rows from the top, channels
        fastest; see `xnorflow.frames.frame_bytes`. Bits arrive here as ``UInt(1)``.
    classes : int
        Number of scores.
    lanes : int
        Pixels that the accelerator takes in a clock cycle.
    clock : int
        Its clock frequency in Hz.
    cycles_per_frame : int
        Clock cycles that it takes for a frame when frames come without a gap.
    fingerprint : bytes
        `fingerprint` of the network.
    name : str
        Name of the network, cut to ``NAME_BYTES`` bytes of UTF-8.
    version : int
        Of the protocol.
    labelled : bool
        Whether results have a label.
    runtime_weights : bool
        Whether other weights can be loaded. The name and the fingerprint are those of the network
        that the bitstream was built with.
    """

    frame: FeatureMap
    classes: int
    lanes: int
    clock: int
    cycles_per_frame: int
    fingerprint: bytes
    name: str
    version: int = VERSION
    labelled: bool = True
    runtime_weights: bool = False

    NAME_BYTES = 32
    _LAYOUT = struct.Struct("<9I8s")

    def pack(self) -> bytes:
        """Return the body of the reply to `Command.INFO`."""
        fixed = self._LAYOUT.pack(
            self.version, *self.frame.shape, _pack_type(self.frame.type),
            self.classes | (0 if self.labelled else _NO_LABEL)
            | (_RUNTIME if self.runtime_weights else 0), self.lanes, self.clock,
            self.cycles_per_frame, self.fingerprint,
        )  # fmt: skip
        name = self.name.encode()[: self.NAME_BYTES].decode(errors="ignore")
        return fixed + name.encode()

    @classmethod
    def unpack(cls, body: bytes) -> "Info":
        """Read the body of the reply to `Command.INFO`.

        Raises
        ------
        PacketError
            If it is too short, of another version, or of a frame that there cannot be.
        """
        if len(body) < cls._LAYOUT.size:
            raise PacketError(f"a description of {len(body)} bytes is too short")
        version, height, width, channels, pixel, scores, *numbers, digest = cls._LAYOUT.unpack_from(
            body
        )
        if version != VERSION:
            raise PacketError(
                f"the board speaks version {version} of the protocol, this program version "
                f"{VERSION}"
            )
        try:
            frame = FeatureMap(height, width, channels, _unpack_type(pixel))
        except NetworkError as error:
            raise PacketError(f"a description is damaged: {error}") from None
        name = body[cls._LAYOUT.size :].decode(errors="replace")
        return cls(
            frame,
            scores & ~(_NO_LABEL | _RUNTIME),
            *numbers,
            digest,
            name,
            labelled=not scores & _NO_LABEL,
            runtime_weights=bool(scores & _RUNTIME),
        )


@dataclass(frozen=True)
class Weights:
    """Weights on a board.

    Attributes
    ----------
    digest : bytes
        Of the design's shape: loads begin with it.
    crc : bytes
        The last bytes of the load, and the first ones of the network's `fingerprint`.
    valid : bool
        Whether they are all there.
    """

    digest: bytes
    crc: bytes
    valid: bool

    _LAYOUT = struct.Struct("<4s4sI")

    @classmethod
    def unpack(cls, body: bytes) -> "Weights":
        """Read the body of the reply to `Command.WEIGHTS`.

        Raises
        ------
        PacketError
            If it has another length.
        """
        if len(body) != cls._LAYOUT.size:
            raise PacketError(f"a description of weights of {len(body)} bytes is damaged")
        digest, crc, valid = cls._LAYOUT.unpack(body)
        return cls(digest, crc, bool(valid))


@dataclass(frozen=True)
class Reply:
    """A reply whose CRC is right."""

    sequence: int
    command: int
    status: Status
    body: bytes


def fingerprint(network: Network) -> bytes:
    """Return 8 bytes that tell a network from every other."""
    return hashlib.sha256(xnf.dumps(network)).digest()[:8]


def encode_request(sequence: int, command: Command, payload: bytes = b"") -> bytes:
    """Return the bytes that ask for ``command``, delimiters included."""
    return packet(bytes([sequence, command]) + payload)


def decode_reply(encoded: bytes) -> Reply:
    """Read what came between two delimiters.

    Raises
    ------
    PacketError
        If it is damaged.
    """
    content = cobs_decode(encoded)
    content, crc = content[:-CRC_BYTES], content[-CRC_BYTES:]
    if len(content) < 3 or _crc(content) != crc:
        raise PacketError("the CRC of a reply does not match")
    sequence, command, status = content[:3]
    try:
        return Reply(sequence, command, Status(status), content[3:])
    except ValueError:
        raise PacketError(f"a reply has the unknown status {status}") from None


def packet(content: bytes) -> bytes:
    """Add the CRC to ``content``, encode it, and put it between delimiters."""
    return DELIMITER + cobs_encode(content + _crc(content)) + DELIMITER


def cobs_encode(content: bytes) -> bytes:
    """Encode by consistent-overhead byte stuffing: no zeros, a byte longer for each 254.

    Source: Cheshire and Baker, "Consistent Overhead Byte Stuffing", 1999. A block of 254 bytes is
    always followed by another, be it empty.
    """
    encoded = bytearray()
    for run in content.split(b"\0"):
        rest = run
        while len(rest) >= _BLOCK:
            encoded += b"\xff" + rest[:_BLOCK]
            rest = rest[_BLOCK:]
        encoded += bytes([len(rest) + 1]) + rest
    return bytes(encoded)


def cobs_decode(encoded: bytes) -> bytes:
    """Undo `cobs_encode`.

    Raises
    ------
    PacketError
        If there is a zero in it, or it ends inside a block.
    """
    if not encoded or 0 in encoded:
        raise PacketError("a packet is empty or has a zero byte")
    content = bytearray()
    at = 0
    while at < len(encoded):
        code = encoded[at]
        block = encoded[at + 1 : at + code]
        if len(block) != code - 1:
            raise PacketError("a packet ends inside a block")
        content += block
        at += code
        if code <= _BLOCK and at < len(encoded):
            content.append(0)
    return bytes(content)


def _pack_type(pixel: ValueType) -> int:
    """Bits of a pixel, and whether they are signed."""
    match pixel:
        case Int(bits):
            return bits | _SIGNED
        case UInt(bits):
            return bits
        case _:
            return 1


def _unpack_type(number: int) -> UInt | Int:
    return Int(number & ~_SIGNED) if number & _SIGNED else UInt(number)


def _crc(content: bytes) -> bytes:
    """CRC-16/IBM-3740: polynomial 0x1021, initially 0xFFFF; finds any three wrong bits in 4 kB."""
    return crc_hqx(content, 0xFFFF).to_bytes(CRC_BYTES, "big")
