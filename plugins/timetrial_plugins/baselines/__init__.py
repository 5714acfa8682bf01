"""Engines that others use, to be timed beside the project's own."""
