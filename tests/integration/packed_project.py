"""What `make package` makes of a copy of this project, in which nobody else works."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z"}


def load_script(name: str) -> Any:
    """One of the scripts in bootstrap/ as a module."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, PROJECT / "bootstrap" / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy_project(folder: Path) -> Path:
    """A checkout with one commit: what git would commit of this project now."""
    for name in load_script("archive.py").project_files(PROJECT, [".", ":(exclude)data", ":(exclude)tests"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, folder / name)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "--quiet", "--message=all"]):
        subprocess.run(["git", *command], cwd=folder, env={**os.environ, **GIT}, check=True)
    return folder


def make_package(project: Path) -> Path:
    """Runs `make package` there, with this environment in the place of a .venv; its dist folder."""
    command = ["make", "--old-file=setup", "package", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return project / "dist"
