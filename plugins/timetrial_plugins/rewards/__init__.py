"""The built-in reward models."""
