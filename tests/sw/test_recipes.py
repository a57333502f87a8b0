import pytest
import torch

from xnorflow.errors import DataError
from xnorflow.sw.augment import augment
from xnorflow.sw.recipes import Augmentation, Recipe


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "at least 1 epoch and 2 images in a batch, not 0 and 256$"),
        ({"epochs": 1, "batch_size": 1}, "not 1 and 1$"),
        ({"epochs": 1, "learning_rate": 0.0}, "^a learning rate must be positive, not 0.0$"),
        ({"epochs": 1, "learning_rate": float("nan")}, "must be positive, not nan$"),
        ({"epochs": 1, "label_smoothing": 1.0}, "^label smoothing must be from 0 to 1, not 1.0$"),
        ({"epochs": 1, "progress": 1.1}, "^progress must be from 0 to 1, not 1.1$"),
        ({"epochs": 1, "views": 0}, "^a teacher must look at 1 view or more, not 0$"),
        ({"epochs": 1, "weight_decay": -0.1}, "^weight decay and temperature cannot be negative$"),
        ({"epochs": 1, "temperature": -1.0}, "^weight decay and temperature cannot be negative$"),
        ({"epochs": 1, "centred": 0.5}, "^of 1 epochs, one must be left in which the weights are "),
        ({"epochs": 9, "centred": 1.0}, "^of 9 epochs, one must be left in which the weights are "),
    ],
)
def test_refuses_a_recipe_out_of_range(options, message):
    with pytest.raises(DataError, match=message):
        Recipe("wrong", **options)


# -- augmentation ---------------------------------------------------------------------------------


def make_image(height, width):
    image = torch.zeros(1, height, width, 1)
    image[0, height // 2 - 2 : height // 2 + 2, width // 2 - 3 : width // 2 + 1] = 200.0
    return image


def centre_of_mass(image):
    rows, columns = (torch.arange(size) + 0.5 - size / 2 for size in image.shape[1:3])
    mass = image[0, :, :, 0]
    return (
        float((mass.sum(1) * rows).sum() / mass.sum()),
        float((mass.sum(0) * columns).sum() / mass.sum()),
    )


def augmented(image, seed, **options):
    return augment(image, Augmentation(**options), torch.Generator().manual_seed(seed))


def test_no_augmentation_changes_nothing():
    image = make_image(28, 28)
    assert torch.equal(augmented(image, 1), image)
    assert augmented(image.to(torch.uint8), 1).dtype == torch.float32


@pytest.mark.parametrize(("height", "width"), [(28, 28), (20, 32)])
@pytest.mark.parametrize("seed", range(5))
def test_shifts_by_so_many_pixels(height, width, seed):
    image = make_image(height, width)
    before, after = centre_of_mass(image), centre_of_mass(augmented(image, seed, shift=2.0))
    moves = [b - a for a, b in zip(before, after, strict=True)]
    assert all(0.01 < abs(move) <= 2.0 for move in moves)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (20, 32)])
@pytest.mark.parametrize("seed", range(5))
def test_rotates_about_the_centre(height, width, seed):
    image = make_image(height, width)
    row, column = centre_of_mass(image)
    after = centre_of_mass(augmented(image, seed, rotation=90.0))
    assert sum(x * x for x in after) == pytest.approx(row**2 + column**2, rel=0.05)
    assert after != pytest.approx((row, column), abs=0.005)


@pytest.mark.parametrize("seed", range(5))
def test_zooms(seed):
    image = make_image(28, 28)
    ratio = augmented(image, seed, zoom=0.2).sum() / image.sum()
    assert 1 / 1.2**2 - 0.05 < ratio < 1 / 0.8**2 + 0.05
    assert abs(ratio - 1) > 0.01


@pytest.mark.parametrize(("height", "width"), [(28, 28), (20, 32)])
def test_crops_by_whole_pixels(height, width):
    images = make_image(height, width).repeat(500, 1, 1, 1)
    after = augmented(images, 1, crop=3)
    expected = {
        (r, c): torch.nn.functional.pad(images[:1], (0, 0, 3, 3, 3, 3))[
            :, r : r + height, c : c + width
        ]
        for r in range(7)
        for c in range(7)
    }
    seen = {
        place
        for image in after
        for place, wanted in expected.items()
        if torch.equal(image[None], wanted)
    }
    assert seen == expected.keys()
    assert all(any(torch.equal(image[None], x) for x in expected.values()) for image in after[:50])


def test_flips_half_of_the_images():
    images = torch.rand(400, 4, 5, 3)
    after = augmented(images, 1, flip=True)
    mirrored = [torch.equal(new, old.flip(1)) for new, old in zip(after, images, strict=True)]
    assert 160 < sum(mirrored) < 240
    kept = [torch.equal(new, old) for new, old in zip(after, images, strict=True)]
    assert [a != b for a, b in zip(kept, mirrored, strict=True)] == [True] * 400


def test_tilted_sensors_turn_together():
    windows = torch.zeros(400, 1, 2, 6)
    windows[..., 0], windows[..., 5] = 1.0, 2.0  # x of one, z of the other
    first, second = augmented(windows, 1, tilt=6.0)[:, 0, 0].unflatten(1, (2, 3)).unbind(1)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(400))
    torch.testing.assert_close((first * second).sum(dim=1), torch.zeros(400), atol=1e-6, rtol=0)
    # Small turns about y and z move x sideways, by as many radians.
    assert first[:, 1:].std(dim=0).rad2deg().tolist() == pytest.approx([6, 6], rel=0.1)
    moved = augmented(windows, 1, tilt=6.0)
    assert torch.equal(moved[:, :, 0], moved[:, :, 1])  # in all samples alike
