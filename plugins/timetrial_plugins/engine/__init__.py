"""The engine: one decode loop for all families, its random numbers, and the Model made of a module and a tokenizer."""
