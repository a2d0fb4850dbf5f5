"""Versions of the programs that an answer depends on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

VERSIONED = ("stackpress", "torch", "numpy", "scipy")


def versions() -> dict[str, str]:
    """The version of each package that an answer depends on."""
    return {name: version_of(name) for name in VERSIONED}


def version_of(package: str) -> str:
    """The version of one package, in words where it was not installed as one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"
