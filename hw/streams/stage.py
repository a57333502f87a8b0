"""A stage of a pipeline: what is known of a component before it is built."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from operator import attrgetter
from typing import ClassVar

import numpy as np
from amaranth.lib.wiring import Component

from xnorflow.hw.arithmetic.loaded_memory import Contents
from xnorflow.hw.arithmetic.resources import Resources
from xnorflow.hw.families.device import Device
from xnorflow.hw.streams.words import value_bits, words_of
from xnorflow.ir import FeatureMap, Node


__all__ = ["Stage", "StreamStage"]


class Stage(ABC):
    """A part that takes words of ``lanes`` values from ``source``, and becomes one component.

    A stage is a frozen dataclass. What is here is right for a component that delivers a word for
    every word, a fixed number of cycles later; others say what is different.

    Attributes
    ----------
    name : str
        Of the component, too.
    component : type of Component
        What it becomes.
    inputs : tuple of str
        Ports of the component, one for each stage that feeds it.
    facts : tuple of str
        Attributes that design.json has.
    words_kept, frames_kept : int or Fraction
        Words, and frames, that it holds at most, besides a word in each register and its buffer.
    may_wait : bool
        Whether words may wait in it for longer than the schedule says.
    least_depth : int or None
        Words that its buffer must hold at least, if it has one.
    """

    component: ClassVar[type[Component]]
    inputs: ClassVar[tuple[str, ...]] = ("i",)
    facts: ClassVar[tuple[str, ...]] = ("lanes",)
    words_kept: int = 0
    frames_kept: int | Fraction = 0
    may_wait: ClassVar[bool] = False
    least_depth: int | None = None

    @property
    def width(self) -> int:
        """Bits of the values of a word."""
        return self.lanes * value_bits(self.source)

    def registers(self, device: Device) -> int:
        """Registers that a word passes, memories of activations not counted."""
        return self.component.latency

    @property
    def busy(self) -> int:
        """Clock cycles for which a frame keeps it busy."""
        return words_of(self.source, self.lanes)

    def passage(self, arrivals: list[np.ndarray], device: Device) -> tuple[list, np.ndarray]:
        """Follow words through it while nothing behind it holds them up.

        Parameters
        ----------
        arrivals : list of int array
            For each source, the clock cycles in which its words are offered.
        device : Device
            What it is built for.

        Returns
        -------
        taken : list of int array
            The cycles in which they are taken.
        departures : int array
            The cycles in which words leave.
        """
        return arrivals, arrivals[0] + self.registers(device)

    def scheduled(self, arrivals, device, stages) -> tuple[list, np.ndarray, int | None]:
        """The same at an even pace, and the depth that its buffer needs for that.

        ``stages`` has all of the pipeline by name.
        """
        return *self.passage(arrivals, device), None

    @abstractmethod
    def resources(self, device: Device, depth: int | None = None) -> Resources:
        """Estimated resources, with a buffer of that ``depth``."""

    def frames_in(self, device: Device, depth: int | None) -> Fraction:
        """Bound on the frames in it: a word is a small part of a frame."""
        words = self.registers(device) + (depth or self.words_kept)
        return Fraction(words, self.busy) + self.frames_kept

    def describe(self, depth: int | None) -> dict:
        """Entries of design.json, besides its name, its sources and its component."""
        facts = {fact: attrgetter(fact)(self) for fact in self.facts}
        facts = {fact.rpartition(".")[2]: value for fact, value in facts.items()}
        return facts if self.least_depth is None else facts | {"depth": depth}

    @abstractmethod
    def build(self, device: Device, depth: int | None) -> Component:
        """Make the component."""

    def loaded(self, device: Device, node: Node) -> Contents | None:
        """Table that is loaded at run time, with the constants of a node like its own.

        There is none, unless something else is said.

        Raises
        ------
        DesignError
            If there is no room for these constants.
        """
        return None

    def outputs(self, unit: Component) -> list:
        """Streams that the component hands out, one for each stage that it feeds."""
        return [unit.o]


@dataclass(frozen=True)
class StreamStage(Stage):
    """A stage that only moves words of ``lanes`` values."""

    name: str
    source: FeatureMap
    lanes: int
