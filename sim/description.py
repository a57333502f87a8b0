"""The description of a generated accelerator: how frames and results look on its ports."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import FormatError, NetworkError
from xnorflow.frames import frame_bytes, value_bytes
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
            wanted = cls.__dataclass_fields__.keys() - {"quantisation"}
            found = cls(**{name: values[name] for name in wanted})
            if quantisation is not None:
                object.__setattr__(found, "quantisation", Quantisation(**quantisation))
            object.__setattr__(found, "frame_shape", tuple(found.frame_shape))
            packets = FramesPerPacket(found.frames_per_packet)
            object.__setattr__(found, "frames_per_packet", packets)
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
        """Bytes of the input words of frames, lowest first.

        Parameters
        ----------
        frames : (frames, height, width, channels) array
            Raw frames: integers of any type, or floating-point numbers if there is a quantisation.

        Returns
        -------
        (frames, words, bytes of a word) uint8

        Raises
        ------
        DataError
            If the frames are of a wrong shape or type, or have values out of range.
        """
        frame, lanes = self.frame, self.input_lanes
        values = frame_bytes(frames, frame, self.quantisation)
        spare = self.words_per_frame * lanes - frame.size
        padded = np.pad(values, ((0, 0), (0, spare), (0, 0)))
        word = lanes * value_bytes(frame.type)
        return padded.reshape(len(frames), self.words_per_frame, word)

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
