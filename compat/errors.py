"""The one exception for wrong input."""


class InputError(ValueError):
    """Wrong input. The message is one line that names the field, what was found and what is expected."""
