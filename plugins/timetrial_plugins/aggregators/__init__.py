"""The built-in ways of choosing one answer from many samples."""
