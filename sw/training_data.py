"""Training images on the device, and the batches in which a training sees them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from xnorflow.sw.augment import seeded
from xnorflow.sw.batches import EVALUATION_BATCH


__all__ = ["Images", "Shuffle", "in_order"]


@dataclass(frozen=True, eq=False)
class Images(Dataset[tuple[Tensor, ...]]):
    """Images in memory, from which a whole batch is picked at once.

    A batch has images and labels, and then what a teacher says if there is one.
    """

    images: Tensor
    labels: Tensor
    taught: Tensor | None = None

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, ...]:
        parts = self.images[indices], self.labels[indices]
        return parts if self.taught is None else (*parts, self.taught[indices])

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> "Images":
        """The same in the memory of a ``device``, so that no batch is copied to it."""
        taught = None if self.taught is None else self.taught.to(device)
        return Images(self.images.to(device), self.labels.to(device), taught)


class Shuffle(Sampler[Tensor]):
    """Batches of indices, in an order that seed and epoch decide; devices take turns.

    What does not fill a batch on every device is left out of the epoch. The first epoch goes on
    from the batch to which a training had come: ``steps`` tells its number of steps.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        devices: int = 1,
        *,
        steps: Callable[[], int],
        device: torch.device | str = "cpu",
    ) -> None:
        self.count = count
        self.batch_size = min(batch_size, count // devices)
        self.seed = seed
        self.rank = rank
        self.devices = devices
        self.steps = steps
        self.device = device
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning, after a resumption too."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        # A generator, because after a resumption Lightning sets the epoch later than it comes here.
        order = torch.randperm(self.count, generator=seeded(self.seed, self.epoch))
        batches = order.to(self.device).split(self.batch_size)[: len(self) * self.devices]
        done = self.steps() - self.epoch * len(self)
        yield from batches[self.rank :: self.devices][done:]

    def __len__(self) -> int:
        return self.count // (self.batch_size * self.devices)


def in_order(images: Images) -> DataLoader[tuple[Tensor, ...]]:
    """Batches of all ``images``, for evaluation."""
    batches = torch.arange(len(images)).split(EVALUATION_BATCH)
    return DataLoader(images, batch_size=None, sampler=batches)
