"""The environment of what only the benchmarks need: `tests/benchmarks/.venv`.

Daft wants an older pyarrow than the project. It must not see the project's packages at all: it imports TensorFlow
wherever that is installed, which costs it five seconds. What both have, Pillow and ONNX Runtime above all, has the
same version in both.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE / ".venv"
PYTHON = FOLDER / "bin" / "python"
REQUIREMENTS = HERE / "requirements.txt"
LOCK = HERE.parents[1] / "requirements.lock"
_READY = FOLDER / "made-of.txt"


def ensure() -> Path:
    """Makes the environment unless it is there with these very requirements.

    Returns:
        Its Python.
    """
    made_of = f"{REQUIREMENTS.read_text()}\n{constraints()}"
    if not (_READY.exists() and _READY.read_text() == made_of):
        print(f"Making {FOLDER} …", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(constraints())
            file.flush()
            install = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*install, "-r", str(REQUIREMENTS), "-c", file.name], check=True)
        _READY.write_text(made_of)
    return PYTHON


def constraints() -> str:
    """The project's lock without what requirements.txt pins itself."""
    pinned = {_name(line) for line in REQUIREMENTS.read_text().splitlines() if "==" in line}
    return "\n".join(line for line in LOCK.read_text().splitlines() if _name(line) not in pinned)


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0].lower()


def versions(*packages: str) -> dict[str, str]:
    """Versions of packages in this environment; those that are missing are left out."""
    code = (
        "import importlib.metadata as m, json, sys\n"
        "names = {d.metadata['Name'].lower() for d in m.distributions()}\n"
        "print(json.dumps({n: m.version(n) for n in sys.argv[1:] if n in names}))"
    )
    found = subprocess.run([str(PYTHON), "-c", code, *packages], check=True, capture_output=True, text=True)
    return dict(json.loads(found.stdout))


if __name__ == "__main__":
    print(ensure())
