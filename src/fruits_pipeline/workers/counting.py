"""Numbers by name, summed over all tasks of a job."""

from pyspark.accumulators import AccumulatorParam


class AddCounts(AccumulatorParam[dict[str, int]]):
    """How Spark adds up the counts of its tasks."""

    def zero(self, value: dict[str, int]) -> dict[str, int]:
        """No counts."""
        return {}

    def addInPlace(self, value1: dict[str, int], value2: dict[str, int]) -> dict[str, int]:  # noqa: N802 - PySpark's
        """Adds the second counts to the first."""
        for name, number in value2.items():
            value1[name] = value1.get(name, 0) + number
        return value1
