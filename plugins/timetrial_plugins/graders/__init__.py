"""Graders that can be asked for by name; the package grading, which they come from, is imported when one is loaded."""
