"""Random distortions of a batch of images, all at once."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from xnorflow.sw.recipes import Augmentation


__all__ = ["augment", "seeded"]


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Distort each of ``images`` (N, height, width, channels) in its own way.

    What comes in from outside is 0. The ``generator`` must be on the device of ``images``.

    Returns
    -------
    (N, height, width, channels) float32
        Interpolated, so in 0…255 but not whole numbers.
    """
    images = images.float()
    if augmentation.flip:
        mirrored = torch.rand(len(images), generator=generator, device=images.device) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
    if augmentation.crop:
        images = _crop(images, augmentation.crop, generator)
    if augmentation.shift or augmentation.rotation or augmentation.zoom:
        images = _distort(images, augmentation, generator)
    if augmentation.tilt:
        images = _tilt(images, augmentation.tilt, generator)
    return images


def _crop(images: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Shift each of the ``images`` by whole pixels."""
    count, height, width, _ = images.shape
    rows, columns = (
        torch.randint(2 * reach + 1, (count, 1), generator=generator, device=images.device)
        + torch.arange(side, device=images.device)
        for side in (height, width)
    )
    padded = functional.pad(images, (0, 0, reach, reach, reach, reach))
    which = torch.arange(count, device=images.device)[:, None, None]
    return padded[which, rows[:, :, None], columns[:, None, :]]


def _distort(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Shift, turn and zoom each of the ``images``, with interpolation."""
    count, height, width, _ = images.shape

    def uniform(reach: float) -> Tensor:
        return (torch.rand(count, generator=generator, device=images.device) * 2 - 1) * reach

    # Rows of the maps from output to input coordinates, in which the image spans ±1.
    angle = torch.deg2rad(uniform(augmentation.rotation))
    zoom = 1 + uniform(augmentation.zoom)
    cosine, sine = angle.cos() * zoom, angle.sin() * zoom
    aspect = height / width
    across = [cosine, -sine * aspect, uniform(augmentation.shift * 2 / width)]
    down = [sine / aspect, cosine, uniform(augmentation.shift * 2 / height)]
    maps = torch.stack([torch.stack(across, dim=1), torch.stack(down, dim=1)], dim=1)

    planes = images.permute(0, 3, 1, 2)
    grid = functional.affine_grid(maps, list(planes.shape), align_corners=False)
    return functional.grid_sample(planes, grid, align_corners=False).permute(0, 2, 3, 1)


def _tilt(windows: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    """Turn the sensors that measured each of the ``windows``, all of them alike."""
    angles = torch.randn(len(windows), 3, generator=generator, device=windows.device)
    across = torch.linalg.cross(
        torch.eye(3, device=windows.device).expand(len(windows), 3, 3),
        torch.deg2rad(degrees * angles)[:, None].expand(-1, 3, 3),
        dim=2,
    )
    turns = torch.linalg.matrix_exp(across)
    sensors = windows.unflatten(3, (-1, 3))
    return torch.einsum("nij,nhwsj->nhwsi", turns, sensors).flatten(3)


def seeded(*seeds: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Generator that depends on all of ``seeds``, and on nothing that happened before."""
    (seed,) = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(seed))
