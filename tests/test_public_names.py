"""The public names of the packages."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import secateur

PACKAGES = [
    f"secateur.{module.name}" for module in pkgutil.iter_modules(secateur.__path__) if module.ispkg
]
LAZY = [
    package for package in PACKAGES
    if Path(secateur.__path__[0], package.rpartition(".")[2], "__init__.pyi").exists()
]  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_of_a_package_is_there(package: str) -> None:
    module = importlib.import_module(package)
    for name in getattr(module, "__all__", []):
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", LAZY)
def test_a_public_name_is_defined_in_the_module_that_exports_it(package: str) -> None:
    module = importlib.import_module(package)
    names = [getattr(module, name) for name in module.__all__]
    defined = [value for value in names if hasattr(value, "__module__")]
    homes = {value.__module__.rpartition(".")[0] for value in defined} - {"builtins", ""}
    assert all(home == package or home.startswith(f"{package}.") for home in homes)


def test_the_rooms_that_a_user_needs_export_their_names() -> None:
    rooms = [
        "pruning",
        "slimming",
        "cost",
        "detectors",
        "recognizers",
        "weights",
        "metrics",
        "data",
    ]
    assert {f"secateur.{room}" for room in rooms} <= set(LAZY)


def test_a_function_wins_over_the_module_of_its_name() -> None:
    importlib.import_module("secateur.pruning.prune")
    importlib.import_module("secateur.slimming.slim")
    from secateur.pruning import prune
    from secateur.slimming import slim

    assert callable(prune)
    assert callable(slim)


def test_importing_a_package_imports_none_of_its_modules() -> None:
    code = "import sys, secateur.detectors, secateur.metrics, secateur.data, secateur.pruning\n"
    code += "assert 'torch' not in sys.modules and 'pytorch_lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
