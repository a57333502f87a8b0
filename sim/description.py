"""The description of a generated accelerator: how frames and results look on its ports."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.errors import FormatError
from xnorflow.frames import check_frames
from xnorflow.network import FeatureMap, UInt


__all__ = ["Description"]


@dataclass(frozen=True)
class Description:
    """What ``design.json`` says of an accelerator.

    Attributes
    ----------
    frame_shape : tuple of int
        (height, width, channels) of a frame.
    pixel_bits : int
        Width of a pixel, which travels in whole bytes.
    input_lanes, words_per_frame : int
        Pixels of an input word, and words of a frame.
    classes, result_element_bits : int
        Number of scores, and the width of each and of the label in a result.
    cycles_per_frame, latency : int
        Predicted clock cycles.
    steps : list of dict
        The units of the pipeline, in order.
    """

    frame_shape: tuple[int, int, int]
    pixel_bits: int
    input_lanes: int
    words_per_frame: int
    classes: int
    result_element_bits: int
    cycles_per_frame: int
    latency: int
    steps: list[dict[str, Any]]

    @classmethod
    def load(cls, directory: Path | str) -> "Description":
        """Read ``design.json`` of a folder that `xnorflow.hw.generate.generate` wrote.

        Raises
        ------
        FormatError
            If it is missing or damaged.
        """
        path = Path(directory) / "design.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            found = cls(**{name: values[name] for name in cls.__dataclass_fields__})
        except OSError:
            raise FormatError(f"{directory} holds no generated accelerator") from None
        except (ValueError, KeyError, TypeError):
            raise FormatError(f"{path} is damaged") from None
        object.__setattr__(found, "frame_shape", tuple(found.frame_shape))
        return found

    def words(self, frames: NDArray[Any]) -> NDArray[np.uint8]:
        """Bytes of the input words of frames, lowest first.

        Parameters
        ----------
        frames : (frames, height, width, channels) array
            Raw frames, of the type that `check_frames` asks for.

        Returns
        -------
        (frames, words, bytes of a word) uint8

        Raises
        ------
        DataError
            If the frames are of a wrong shape or type, or have values out of range.
        """
        array = check_frames(frames, FeatureMap(*self.frame_shape, UInt(self.pixel_bits)))
        size = math.prod(self.frame_shape)
        shape = (len(array), self.words_per_frame, self.input_lanes)
        pixels = np.zeros((len(array), math.prod(shape[1:])), "<u4")
        pixels[:, :size] = array.reshape(len(array), size)
        used = -(-self.pixel_bits // 8)
        lanes = pixels.view(np.uint8).reshape(*shape, 4)[..., :used]
        return lanes.reshape(*shape[:2], used * self.input_lanes)

    @property
    def result_bytes(self) -> int:
        """Bytes of a result."""
        return (1 + self.classes) * self.result_element_bits // 8

    def results(self, data: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Labels and scores in results.

        Parameters
        ----------
        data : (results, bytes) uint8
            Each as it is on ``m_axis_tdata``, lowest byte first.

        Returns
        -------
        labels : (results,) int64
        scores : (results, classes) int64
        """
        signed = np.dtype(f"<i{self.result_element_bits // 8}")
        elements = np.ascontiguousarray(data).view(signed).astype(np.int64)
        return elements[:, 0] & ((1 << self.result_element_bits) - 1), elements[:, 1:]
