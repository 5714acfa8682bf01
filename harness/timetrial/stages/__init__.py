"""The stages of a run, one module each: each reads one kind of record and appends the next."""
