"""The one exception that means: the input is at fault, not the program. And the exit codes."""

OK, BROKEN, BAD_INPUT = 0, 1, 2  # exit codes; a signal makes 128 and its number


class InputError(ValueError):
    """Bad input, said in one clear sentence: what is wrong, where, and what would be right.

    The command line prints the sentence and exits with code 2. Every other exception is a bug of ours and
    keeps its traceback.
    """
