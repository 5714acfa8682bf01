"""The operations of a decode step on a CPU as C, built for the processor at hand when they are first wanted."""
