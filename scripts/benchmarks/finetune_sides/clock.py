"""Training speed when steps differ in length: the mean over several steps, not the median."""

from text_sides.timing import WARM_UP, Clock


def seconds_a_step(clock: Clock, steps: int) -> float:
    """Return the mean over `steps` after the warm-up; the clock must have seen the start of one more."""
    first, last = clock.started[WARM_UP], clock.started[WARM_UP + steps]
    return (last - first) / steps
