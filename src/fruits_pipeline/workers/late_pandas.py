"""pandas in the workers: imported when somebody wants it, not because PyArrow asks whether a value might be pandas'."""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pyarrow as pa


def hide_pandas() -> None:
    """Lets PyArrow believe that there is no pandas, until somebody imports it.

    PyArrow looks for pandas when it makes its first array, and imports it: 0.25 s for which a run waits, and 30 MB of
    each process, while nothing in the workers uses it. Where a function does after all, it finds everything as ever.
    """
    if "pandas" in sys.modules:
        return
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)
    sys.meta_path.insert(0, _TellsArrow())


class _Hidden(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


class _TellsArrow(MetaPathFinder):
    """Lets PyArrow look again once pandas has been imported: it takes a Series for any list, NaN for no null."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if name != "pandas":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        return spec and _then_look_again(spec)


def _then_look_again(spec: ModuleSpec) -> ModuleSpec:
    assert spec.loader
    run = spec.loader.exec_module

    def run_and_look(module: ModuleType) -> None:
        run(module)
        pa.array([0]).to_pandas()  # cannot do without, so PyArrow looks

    spec.loader.exec_module = run_and_look  # type: ignore[method-assign]
    return spec
