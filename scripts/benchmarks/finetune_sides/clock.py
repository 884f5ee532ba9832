"""The pace of training whose steps differ in length: the mean of a stretch of them, not the median."""

from text_sides.timing import WARM_UP, Clock


def seconds_a_step(clock: Clock, steps: int) -> float:
    """The mean of so many steps after those that don't count; the clock has seen one more begin."""
    first, last = clock.started[WARM_UP], clock.started[WARM_UP + steps]
    return (last - first) / steps
