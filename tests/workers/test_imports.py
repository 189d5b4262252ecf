"""What a worker process loads before its first image."""

import subprocess
import sys

HEAVY = ("kedro", "pydantic", "tensorflow", "keras", "plotly", "s3fs", "botocore", "rich")


def test_workers_import_nothing_heavy():
    """Each of these costs every worker process a tenth of a second and some 10 MB, for nothing."""
    code = (
        "import sys; from fruits_pipeline.workers import featurization, listing, moments, projection; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
