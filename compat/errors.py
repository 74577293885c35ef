"""The one exception for wrong input: the runners print it as one line and exit with code 2."""


class InputError(ValueError):
    """Wrong input. The message names the field, what was found and what is expected."""
