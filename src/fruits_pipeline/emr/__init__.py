"""The project on Amazon EMR: what it will cost, a cluster from nothing, images up, work done, and nothing left behind.

`settings` and `prices` are the facts, `plan` and `speed` the arithmetic, `aws` the way to AWS and its errors in words,
`stack`, `upload`, `steps`, `tunnels` and `leftovers` do the work, `checks` looks before anything costs money, and `cli`
and `commands` are what a person types. boto3 is imported where it is used: `kedro --help` does not need it.
"""
