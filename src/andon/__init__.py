"""Andon serves models on the production line, watches them, and pulls the cord.

The names below are the whole public Python interface; everything else is reached
through them, the ``andon`` command or HTTP.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from andon.events.eyes import eye_aspect_ratio
    from andon.registry.registry import ModelRegistry
    from andon.serving.engine import InferenceEngine
    from andon.store.database import Database

__version__ = "0.1.0"
__all__ = ["Database", "InferenceEngine", "ModelRegistry", "__version__", "eye_aspect_ratio"]

# Resolved on first use: `andon --help` and the settings must not pay for numpy,
# ONNX Runtime and SQLAlchemy.
_HOMES = {
    "Database": "andon.store.database",
    "InferenceEngine": "andon.serving.engine",
    "ModelRegistry": "andon.registry.registry",
    "eye_aspect_ratio": "andon.events.eyes",
}


def __getattr__(name: str) -> Any:
    """Import a public name the first time somebody asks for it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'andon' has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - only needed when a name is asked for

    return getattr(importlib.import_module(_HOMES[name]), name)
