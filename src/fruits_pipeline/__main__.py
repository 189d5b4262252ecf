"""`python -m fruits_pipeline [emr]`: the packaged project's `kedro run`, or its `kedro emr`."""

import os
import sys
from pathlib import Path
from typing import Any

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main(*args: Any, **kwargs: Any) -> Any:
    """Runs the project as Kedro's packaged projects do."""
    os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "1")
    package_name = Path(__file__).parent.name
    configure_project(package_name)
    if not args and sys.argv[1:2] == ["emr"]:
        from fruits_pipeline.emr.cli import emr

        return emr(sys.argv[2:], prog_name="python -m fruits_pipeline emr", **kwargs)
    kwargs.setdefault("standalone_mode", not hasattr(sys, "ps1"))
    return find_run_command(package_name)(*args, **kwargs)


if __name__ == "__main__":
    main()
