"""Training data: prepared once into shards of tokens, packed into rows by plans that are functions of a seed."""
