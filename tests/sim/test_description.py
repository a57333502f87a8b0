import numpy as np

from xnorflow.hw.streams.packets import FramesPerPacket
from xnorflow.sim.description import Description


def description(**changes):
    values = {
        "frame_shape": (1, 3, 1),
        "pixel_type": "uint8",
        "input_lanes": 2,
        "words_per_frame": 2,
        "frames_per_packet": FramesPerPacket.ONE,
        "labels": ["a", "b"],
        "classes": 2,
        "result_element_bits": 8,
        "cycles_per_frame": 9,
        "latency": 9,
        "steps": [],
    }
    return Description(**{**values, **changes})


def test_the_first_pixel_is_lowest_and_spare_lanes_are_zero():
    frames = np.array([[[[1], [2], [3]]], [[[4], [5], [6]]]], np.uint8)
    expected = [[[1, 2], [3, 0]], [[4, 5], [6, 0]]]
    assert description().words(frames).tolist() == expected


def test_wide_pixels_take_whole_bytes():
    frames = np.array([[[[0x123], [0xFFF], [7]]]], np.int64)
    words = description(pixel_type="uint12").words(frames)
    assert words.tolist() == [[[0x23, 0x01, 0xFF, 0x0F], [7, 0, 0, 0]]]


def test_no_frames_are_no_words():
    assert description().words(np.zeros((0, 1, 3, 1), np.uint8)).shape == (0, 2, 2)


def test_labels_are_unsigned_and_scores_are_not():
    labels, scores = description().results(np.array([[0xFF, 0x80, 0x7F]], np.uint8))
    assert labels.tolist() == [255]
    assert scores.tolist() == [[-128, 127]]
    labels, scores = description(result_element_bits=16).results(
        np.array([[1, 0, 0xFE, 0xFF, 0, 1]], np.uint8)
    )
    assert labels.tolist() == [1]
    assert scores.tolist() == [[-2, 256]]
