"""What spark-submit starts on a cluster: the packaged project's `kedro run`, with its options.

    spark-submit [Spark's options] s3://BUCKET/fruits/artifacts/submit.py --env=cloud \
      --conf-source=s3://BUCKET/fruits/artifacts/conf-fruits_pipeline.tar.gz --params=images=s3://…,output=s3://…

`kedro emr submit` writes this command. The exit code is the run's.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import fsspec

LOGGING = "conf/logging.yml"


def read_logging(conf_source: str) -> bytes:
    """Reads how to log from the packaged configuration, which Kedro leaves to the working directory.

    Args:
        conf_source: The archive, local or s3://.

    Returns:
        The content of its conf/logging.yml.
    """
    try:
        content: bytes = fsspec.filesystem("tar", fo=conf_source).cat_file(LOGGING)
    except Exception as error:  # whatever the storage says
        what = str(error) or type(error).__name__
        sys.exit(
            f"Error: the configuration {conf_source} cannot be read ({what}). Upload it with kedro emr upload and name "
            "it with --conf-source=s3://BUCKET/PREFIX/artifacts/conf-fruits_pipeline.tar.gz. The role of the nodes "
            "must be allowed to read it."
        )
    return content


def main(arguments: list[str]) -> None:
    """Runs the pipeline and ends this process.

    Args:
        arguments: Those of `kedro run`.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--conf-source", default="")
    conf_source = parser.parse_known_args(arguments)[0].conf_source
    with tempfile.TemporaryDirectory() as folder:
        if conf_source.endswith(".tar.gz"):
            file = Path(folder) / "logging.yml"
            file.write_bytes(read_logging(conf_source))
            os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(file))

        from fruits_pipeline.__main__ import main as run  # Kedro reads that variable when it is imported

        run(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
