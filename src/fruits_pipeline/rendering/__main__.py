"""Write synthetic photographs: `python -m fruits_pipeline.rendering data/01_raw/sample`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from fruits_pipeline.rendering.sample import write_images, write_sample


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the bundled sample, or a set of any size for benchmarks.

    Args:
        arguments: command line without the program's name; that of the process if None.
    """
    parser = argparse.ArgumentParser(prog="python -m fruits_pipeline.rendering", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of every choice (default 0)")
    parser.add_argument(
        "--images", type=int, metavar="N", help="write N plain photographs instead of the bundled sample"
    )
    asked = parser.parse_args(arguments)
    if asked.images is None:
        written = write_sample(asked.folder, asked.seed)
    else:
        written = write_images(asked.folder, asked.images, asked.seed)
    print(f"{len(written)} files, {sum(path.stat().st_size for path in written):,} bytes in {asked.folder}")


if __name__ == "__main__":
    main()
