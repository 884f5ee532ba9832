"""InputError, the exception for bad input, and the exit codes."""

OK, BROKEN, BAD_INPUT = 0, 1, 2  # exit codes; a run ended by a signal exits with 128 plus the signal's number


class InputError(ValueError):
    """Bad input, described in one clear sentence: what is wrong, where, and what would be right.

    The command line prints the sentence and exits with code 2. Every other exception is a bug in the program and
    keeps its traceback.
    """
