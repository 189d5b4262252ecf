"""`python -m fruits_pipeline.emr.s3a_probe s3a://bucket/key`: lists, writes and deletes through Spark's S3 stack.

In a process of its own, because a JVM that once started stays.
"""

import sys
from typing import Any


def probe(uri: str) -> None:
    """Starts a small Spark and lets it try `uri`."""
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        write_list_delete(session, uri)
    finally:
        session.stop()


def write_list_delete(session: Any, uri: str) -> None:
    """Writes a file, finds it in a listing, and deletes it.

    Args:
        session: Of Spark.
        uri: In any file system that Hadoop knows.

    Raises:
        RuntimeError: If the listing does not show the file.
    """
    path = session.sparkContext._jvm.org.apache.hadoop.fs.Path(uri)
    filesystem = path.getFileSystem(session.sparkContext._jsc.hadoopConfiguration())
    stream = filesystem.create(path, True)
    stream.write(bytearray(b"kedro emr check"))
    stream.close()
    try:
        names = [status.getPath().getName() for status in filesystem.listStatus(path.getParent())]
        if path.getName() not in names:
            raise RuntimeError(f"{uri} was written, but a listing does not show it")
    finally:
        filesystem.delete(path, False)


def reason(text: str) -> str:
    """The line of an error that says something: Py4J puts Java's own, with a colon before it, below one of its own."""
    lines = text.strip().splitlines() or ["no reason given"]
    return next((line.removeprefix(": ") for line in lines if line.startswith(": ")), lines[0])


if __name__ == "__main__":
    try:
        probe(sys.argv[1])
    except Exception as error:
        sys.exit(reason(str(error)))
