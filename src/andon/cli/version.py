"""``andon version``."""

from andon import __version__


def version() -> None:
    """Print the version of Andon."""
    print(f"andon {__version__}")
