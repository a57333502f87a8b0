"""The description of a generated accelerator: how frames and results look on its ports."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import FormatError, NetworkError
from xnorflow.frames import frame_bytes, value_bytes
from xnorflow.hw.compile.ports import ResetPort
from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.ir import FeatureMap, Quantisation
from xnorflow.ir.xnf import decode_type


__all__ = ["Description"]


@dataclass(frozen=True)
class Description:
    """Description of an accelerator, from ``design.json``.

    Attributes
    ----------
    frame_shape : tuple of int
        (height, width, channels) of a frame.
    pixel_type : str
        ``uint8``, ``int8``, ``bit``, …: the type of a pixel, which travels in whole bytes.
    input_lanes, words_per_frame : int
        Pixels of an input word, and words of a frame.
    frames_per_packet : FramesPerPacket
        Whether ``tlast`` ends every frame, or a packet of them.
    labels : list of str
        Names of the classes; without any, results have no label.
    classes, result_element_bits : int
        Number of scores, and the width of each and of the label in a result.
    cycles_per_frame, latency : int
        Predicted clock cycles.
    steps : list of dict
        The units of the pipeline, in order.
    quantisation : Quantisation or None
        Which integers stand for floating-point numbers, if they do.
    axi_width : int or None
        Bits of TDATA, if a transfer is not a word of the accelerator and a whole result.
    reset : ResetPort
        The reset's port.
    watched : bool
        Whether ports show where words wait.
    nets : int
        Outputs of logic cells that a port shows, of a netlist.
    """

    frame_shape: tuple[int, int, int]
    pixel_type: str
    input_lanes: int
    words_per_frame: int
    frames_per_packet: FramesPerPacket
    labels: list[str]
    classes: int
    result_element_bits: int
    cycles_per_frame: int
    latency: int
    steps: list[dict[str, Any]]
    quantisation: Quantisation | None = None
    axi_width: int | None = None
    reset: ResetPort = ResetPort.RST
    watched: bool = False
    nets: int = 0

    @classmethod
    def load(cls, directory: Path | str) -> "Description":
        """Read ``design.json`` of a folder that `xnorflow.hw.compile.emit.generate` wrote.

        Raises
        ------
        FormatError
            If it is missing or damaged.
        """
        path = Path(directory) / "design.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            quantisation = values.pop("quantisation", None)
            wanted = cls.__dataclass_fields__.keys() - {"quantisation", "watched", "nets"}
            optional: dict[str, Any] = {"watched": False, "nets": 0}
            optional = {name: values.get(name, absent) for name, absent in optional.items()}
            found = cls(**{name: values[name] for name in wanted}, **optional)
            if quantisation is not None:
                object.__setattr__(found, "quantisation", Quantisation(**quantisation))
            object.__setattr__(found, "frame_shape", tuple(found.frame_shape))
            packets = FramesPerPacket(found.frames_per_packet)
            object.__setattr__(found, "frames_per_packet", packets)
            object.__setattr__(found, "reset", ResetPort(found.reset))
            _ = found.frame
        except OSError:
            raise FormatError(f"{directory} holds no generated accelerator") from None
        except (ValueError, KeyError, TypeError, FormatError, NetworkError):
            raise FormatError(f"{path} is damaged") from None
        return found

    @property
    def frame(self) -> FeatureMap:
        """Shape and type of a frame."""
        return FeatureMap(*self.frame_shape, decode_type(self.pixel_type))

    def words(self, frames: NDArray[Any]) -> NDArray[np.uint8]:
        """Bytes of the transfers on ``s_axis`` of frames that have a packet each, lowest first.

        Parameters
        ----------
        frames : (frames, height, width, channels) array
            Raw frames: integers of any type, or floating-point numbers if there is a quantisation.

        Returns
        -------
        (frames, transfers, bytes of a transfer) uint8
            Those of a frame's last transfer that it lacks are 0.

        Raises
        ------
        DataError
            If the frames are of a wrong shape or type, or have values out of range.
        """
        values = frame_bytes(frames, self.frame, self.quantisation)
        values = values.reshape(len(frames), self.frame_size)
        count, size = self.transfers_per_frame, self.transfer_bytes
        padded = np.pad(values, ((0, 0), (0, count * size - self.frame_size)))
        return padded.reshape(len(frames), count, size)

    @property
    def frame_size(self) -> int:
        """Bytes of a frame."""
        return self.frame.size * value_bytes(self.frame.type)

    @property
    def transfer_bytes(self) -> int:
        """Bytes of a transfer on ``s_axis``."""
        if self.axi_width is None:
            return self.input_lanes * value_bytes(self.frame.type)
        return self.axi_width // 8

    @property
    def transfers_per_frame(self) -> int:
        """Transfers of a frame that has a packet of its own."""
        return -(-self.frame_size // self.transfer_bytes)

    @property
    def result_bytes(self) -> int:
        """Bytes of a result."""
        return (bool(self.labels) + self.classes) * self.result_element_bits // 8

    def results(
        self, data: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
        """Labels and scores in results.

        Parameters
        ----------
        data : (results, bytes) uint8
            Each as it is on ``m_axis_tdata``, lowest byte first.

        Returns
        -------
        labels : (results,) int64, or None
        scores : (results, classes) int64
        """
        signed = np.dtype(f"<i{self.result_element_bits // 8}")
        elements = np.ascontiguousarray(data).view(signed).astype(np.int64)
        if not self.labels:
            return None, elements
        return elements[:, 0] & ((1 << self.result_element_bits) - 1), elements[:, 1:]
