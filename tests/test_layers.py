"""Imports go one way: flows -> pipeline -> models. Read from the source, so that a lazy import counts too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "models": {"pipeline", "flows", "prefect", "pydicom", "highdicom", "pynetdicom", "nibabel", "yaml"},
    "pipeline": {"flows", "prefect"},
    "flows": set(),
}
DYNAMIC = {"import_module", "__import__"}


def imported(source, package=""):
    """Top-level names that a module imports, at any depth of the code, also by a constant string."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0] if node.level == 0 else package)
        elif isinstance(node, ast.Call) and _called(node.func) in DYNAMIC:
            names |= {str(arg.value).split(".")[0] for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return names


def _called(function):
    return getattr(function, "attr", None) or getattr(function, "id", "")


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", FORBIDDEN)
def test_every_package_has_modules(package):
    assert len(modules(package)) >= 5


@pytest.mark.parametrize(
    "path", [path for package in FORBIDDEN for path in modules(package)], ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_import_steps_back(path):
    package = path.relative_to(ROOT).parts[0]
    assert not imported(path.read_text(encoding="utf-8"), package) & FORBIDDEN[package]


@pytest.mark.parametrize(
    "source",
    [
        "import prefect",
        "import prefect.tasks as t",
        "from prefect import flow",
        "def f():\n    from prefect.cache_policies import NO_CACHE",
        "import importlib\nimportlib.import_module('prefect.flows')",
        "__import__('prefect')",
        "try:\n    import prefect\nexcept ImportError:\n    pass",
    ],
)
def test_every_way_of_importing_is_seen(source):
    assert "prefect" in imported(source)


def test_words_in_strings_and_relative_imports_are_no_step_back():
    assert imported('"""import prefect"""\nfrom . import other\nprefect = 1', "models") == {"models"}
