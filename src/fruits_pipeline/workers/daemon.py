"""The process from which Spark forks its Python workers: it imports what they need, once for all of them.

PySpark's own daemon (`spark.python.daemon.module`) leaves that to each worker: most of a second of every core, and
memory that they could share.
"""

import gc

from pyspark.daemon import manager

from fruits_pipeline.workers import prepare

if __name__ == "__main__":
    prepare(())
    gc.freeze()  # workers look for garbage after every task; what they share from now on is none
    manager()
