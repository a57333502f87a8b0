"""The outputs of a network that has several: parts of its scores."""

from dataclasses import dataclass

from xnorflow.errors import NetworkError
from xnorflow.ir.values import MAX_SIDE, check_range


__all__ = ["Head", "check_text"]

_MAX_TEXT = 200


@dataclass(frozen=True)
class Head:
    """One of several outputs: ``classes`` scores, that follow those of the heads before it.

    Parameters
    ----------
    name : str
    classes : int
        Number of its scores, which have a unit of their own.
    labels : tuple of str
        Names of its classes, if they have any; of a single score they are two, the second one for
        scores of at least 0.
    """

    name: str
    classes: int
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_text("a head's name", self.name)
        check_range(f"{self.name}: classes", self.classes, 1, MAX_SIDE)
        if not isinstance(self.labels, tuple | list):
            raise NetworkError(f"{self.name}: labels must be names, not {self.labels!r}")
        object.__setattr__(self, "labels", tuple(self.labels))
        for label in self.labels:
            check_text(f"{self.name}: a label", label)
        if len({*self.labels}) < len(self.labels):
            raise NetworkError(f"{self.name}: two classes have the same label")
        classes = max(2, self.classes)
        if self.labels and len(self.labels) != classes:
            raise NetworkError(
                f"{self.name}: there are {len(self.labels)} labels for {classes} classes"
            )


def check_text(what: str, text: object, *, shortest: int = 1) -> None:
    """Check that ``text`` is not too long, and printable.

    Such texts go to terminals, file names and generated sources.
    """
    printable = isinstance(text, str) and text.isprintable()
    if not printable or not shortest <= len(str(text)) <= _MAX_TEXT:
        raise NetworkError(
            f"{what} must be {shortest} to {_MAX_TEXT} printable characters, not {ascii(text)[:40]}"
        )
