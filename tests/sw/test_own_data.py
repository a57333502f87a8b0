"""Data of one's own: folders of images, .npz and .npy files."""

import numpy as np
import pytest
import torch
from PIL import Image

from xnorflow.errors import DataError
from xnorflow.frames import quantise
from xnorflow.ir import FeatureMap, Int, Quantisation, UInt
from xnorflow.sw.data import calibrate_quantisation, read_data, read_labels, values_of


RNG = np.random.default_rng(5)


def images(folder, count, *, side=(6, 5), mode="RGB", ending="png"):
    folder.mkdir(parents=True)
    made = []
    for n in range(count):
        shape = side if mode == "L" else (*side, 3)
        pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels, mode).save(folder / f"{n:03}.{ending}")
        made.append(pixels if mode == "RGB" else pixels[..., None])
    return made


def arrays(path, **changes):
    content = {
        "x_train": RNG.integers(0, 256, (8, 3, 4, 2), dtype=np.uint8),
        "y_train": np.arange(8) % 3,
        "x_test": RNG.integers(0, 256, (4, 3, 4, 2), dtype=np.uint8),
        "y_test": np.arange(4) % 3,
    } | changes
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    return content


def test_a_folder_of_classes_has_every_fifth_image_for_testing(tmp_path):
    cats, dogs = images(tmp_path / "cat", 10), images(tmp_path / "dog", 6)
    data = read_data(tmp_path)
    assert data.classes == ("cat", "dog")
    assert data.frame == FeatureMap(6, 5, 3, UInt(8))
    assert data.test_labels.tolist() == [0, 0, 1]
    assert torch.equal(data.test_images, torch.tensor(np.stack([cats[4], cats[9], dogs[4]])))
    assert data.train_labels.tolist() == [0] * 8 + [1] * 5


def test_a_folder_may_say_what_is_for_testing(tmp_path):
    images(tmp_path / "train" / "a", 2, mode="L")
    images(tmp_path / "train" / "b", 1, mode="L")
    b = images(tmp_path / "test" / "b", 1, mode="L")
    data = read_data(tmp_path)
    assert data.frame == FeatureMap(6, 5, 1, UInt(8))
    assert data.train_labels.tolist() == [0, 0, 1]
    assert data.test_labels.tolist() == [1]
    assert torch.equal(data.test_images, torch.tensor(np.stack(b)))


def test_one_image_of_colours_makes_all_of_them_colours(tmp_path):
    images(tmp_path / "a", 5, mode="L")
    images(tmp_path / "b", 5)
    assert read_data(tmp_path).frame.channels == 3


def test_an_archive(tmp_path):
    content = arrays(tmp_path / "own.npz")
    data = read_data(tmp_path / "own.npz")
    assert (data.name, data.classes) == ("own", ("0", "1", "2"))
    assert np.array_equal(data.train_images.numpy(), content["x_train"])
    assert np.array_equal(data.test_labels.numpy(), content["y_test"])
    assert data.quantisation == Quantisation()


@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        (np.int8, -128, 128, Int(8)),
        (np.int16, -3000, 3000, Int(16)),
        (np.int64, 0, 256, UInt(8)),
        (np.int64, -5, 100, Int(8)),
    ],
)
def test_integers_get_the_narrowest_type(tmp_path, dtype, low, high, expected):
    x = RNG.integers(low, high, (8, 3, 4, 2)).astype(dtype)
    x[0, 0, 0, 0], x[0, 0, 0, 1] = low, high - 1
    arrays(tmp_path / "own.npz", x_train=x, x_test=x[:4])
    data = read_data(tmp_path / "own.npz")
    assert data.frame.type == expected
    assert np.array_equal(data.train_images.numpy(), x)


def test_floats_are_quantised_by_the_training_data(tmp_path):
    x = RNG.normal(0, 3, (8, 20))
    arrays(tmp_path / "own.npz", x_train=x, x_test=x[:4] * 100)
    data = read_data(tmp_path / "own.npz")
    scale = data.quantisation.scale
    assert data.frame == FeatureMap(1, 1, 20, Int(8))
    assert scale == pytest.approx((x.max() - x.min()) / 255)
    values = values_of(data.train_images, data.quantisation)[:, :, 0, 0].numpy()
    assert np.abs(values - x).max() <= 0.51 * scale
    assert data.test_images.min() == -128
    assert data.test_images.max() == 127


def test_quantisation_may_be_given(tmp_path):
    x = np.array([[[-1.0, 0.25, 0.75]]] * 4)
    arrays(tmp_path / "own.npz", x_train=x, x_test=x, y_train=np.arange(4) % 3)
    data = read_data(tmp_path / "own.npz", quantisation=Quantisation(0.5, 1))
    assert data.train_images[0].flatten().tolist() == [-1, 2, 3]


def test_values_without_negative_ones_are_unsigned():
    assert calibrate_quantisation(np.array([0.5, 63.75])) == Quantisation(0.25, 0)
    assert quantise(np.array([0.125, 63.75, 99.0]), UInt(8), Quantisation(0.25)).tolist() == [
        1, 255, 255,
    ]  # fmt: skip


def test_a_pair_of_arrays(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(60, dtype=np.uint8).reshape(10, 3, 2))
    np.save(tmp_path / "y.npy", np.array(["no", "yes"] * 5))
    data = read_data(tmp_path / "x.npy", tmp_path / "y.npy")
    assert data.classes == ("no", "yes")
    assert data.test_images[:, 0, 0, 0].tolist() == [48, 54]
    assert data.test_labels.tolist() == [0, 1]
    assert read_labels(tmp_path / "y.npy", ("yes", "no")).tolist() == [1, 0] * 5
    with pytest.raises(DataError, match="has the label 'no', which is no class"):
        read_labels(tmp_path / "y.npy", ("yes", "maybe"))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"y_test": None}, "has no y_test$"),
        ({"x_train": np.zeros((8, 2, 2, 2), np.uint8)}, "different shapes"),
        ({"y_train": np.arange(7)}, "has 8 frames with 7 labels"),
        ({"y_train": np.arange(8) - 1}, "labels from -1 to 6; they must count from 0"),
        ({"y_train": np.zeros((8, 3), int)}, "one label for each frame"),
        ({"y_train": np.linspace(0, 1, 8)}, "labels that are integers or names"),
        ({"x_train": np.full((8, 3, 4, 2), np.nan)}, "not finite"),
        ({"x_train": np.zeros((8, 3, 4, 2), complex)}, "must have numbers, not complex"),
        ({"x_train": np.full((8, 3, 4, 2), 1 << 20)}, "need more than 16 bits"),
        ({"x_train": np.zeros(8, np.uint8)}, r"not \(8,\)"),
    ],
)
def test_bad_archives(tmp_path, changes, match):
    arrays(tmp_path / "own.npz", **changes)
    with pytest.raises(DataError, match=match):
        read_data(tmp_path / "own.npz")


def test_images_of_different_sizes_are_refused(tmp_path):
    images(tmp_path / "a", 1)
    images(tmp_path / "b", 1, side=(6, 7))
    with pytest.raises(DataError, match=r"000\.png has 7×6 pixels, images before it 5×6"):
        read_data(tmp_path)


def test_files_that_are_no_data(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.npz").write_text("text")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_text("text")
    for name, match in [
        ("empty", "has no folders of images"),
        ("text.npz", "is not a .npz file"),
        ("none.npz", "cannot be read: No such file"),
        ("x.csv", "must be a folder, an .npz file or an .npy file"),
        ("x.npy", "needs the labels of its frames"),
        (".", "x.png is damaged, or no image"),
    ]:
        with pytest.raises(DataError, match=match):
            read_data(tmp_path / name)
