"""Which reasoning model, how many samples and which way of choosing solve the most problems in T seconds."""

__version__ = "0.1.0"
