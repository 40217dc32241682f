"""The one version number, from the installed distribution (pyproject.toml)."""

import importlib.metadata


def text() -> str:
    """Like "0.1.0"; "0" in a tree that was never installed."""
    try:
        return importlib.metadata.version("hawse")
    except importlib.metadata.PackageNotFoundError:
        return "0"
