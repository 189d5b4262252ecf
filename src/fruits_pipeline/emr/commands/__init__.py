"""What the commands of `kedro emr` do, one module each; `cli` declares them."""
