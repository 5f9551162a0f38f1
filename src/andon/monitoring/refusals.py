"""Which failures are the input's fault: a picture nobody can read, a row with a wrong value.

The log keeps the sentence of a failure and not its class. These are the sentences of
`runtimes.images`, `runtimes.rows` and `serving.answers` for inputs that are refused; a test
keeps them in step.
"""

_BEGINNINGS = (
    "Invalid image:",
    "Picture of ",
    "The row is not valid:",
    "The request is not valid:",
    "A confidence threshold of ",
)


def is_refusal(error: str) -> bool:
    """Whether a logged error says that the input could not be used, by any version."""
    return error.startswith(_BEGINNINGS)
