"""The Spark session of the contenders that are written as one would write them in a notebook."""

from __future__ import annotations

from pyspark.sql import SparkSession


def start_spark(name: str, cores: int, **settings: str) -> SparkSession:
    """A session with room for what these contenders keep; only what would print or open a port is off.

    Args:
        name: Of the application.
        cores: How many it may use.
        settings: More of Spark's properties.

    Returns:
        The session.
    """
    quiet = {
        "spark.driver.memory": "6g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    spark = SparkSession.builder.appName(name).master(f"local[{cores}]").config(map={**quiet, **settings}).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark
