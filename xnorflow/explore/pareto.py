"""Results that no other one is better than."""

from collections.abc import Iterable

from xnorflow.explore.placing import Result


__all__ = ["best", "groups", "pareto"]


def groups(results: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    """Results of each network on each board, the slowest designs first."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        found.setdefault((result.point.network, result.point.board), []).append(result)
    for group in found.values():
        group.sort(key=lambda result: -result.point.cycles_per_frame)
    return found


def pareto(group: Iterable[Result]) -> list[Result]:
    """Those than which no other one takes fewer look-up tables and is as fast, or is faster.

    Of a network on a board, fewest look-up tables first. Where something is placed, what is only
    estimated is left out.
    """
    usable = [result for result in group if result.error is None]
    placed = [result for result in usable if result.found is not None]
    front: list[Result] = []
    for result in sorted(placed or usable, key=lambda r: (r.luts, -r.frames_per_second)):
        if not front or result.frames_per_second > front[-1].frames_per_second:
            front.append(result)
    return front


def best(group: Iterable[Result]) -> Result | None:
    """The fastest; None if there is none without an error."""
    return next(reversed(pareto(group)), None)
