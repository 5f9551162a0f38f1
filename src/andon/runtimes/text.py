"""Text that came out of a file or program, made fit to be shown."""


def clean(text: str, longest: int = 100) -> str:
    """One line without control characters, cut to a length."""
    return "".join(char if char.isprintable() else " " for char in text).strip()[:longest]
