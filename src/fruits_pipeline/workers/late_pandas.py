"""pandas in the workers: imported when somebody wants it, not because PyArrow asks whether a value might be pandas'."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

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

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "pandas":
            return None
        others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec and spec.loader:
            setattr(spec.loader, "exec_module", _then_look_again(spec.loader.exec_module))  # noqa: B010 - or mypy objects
        return spec


def _then_look_again(run: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def run_and_look(module: ModuleType) -> None:
        run(module)
        with suppress(ImportError):  # it finds this pandas too old, as it would have done at first
            pa.array([0]).to_pandas()  # cannot do without, so PyArrow looks

    return run_and_look
