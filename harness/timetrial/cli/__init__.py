"""The command line: parse, build a config, call, print. No logic of its own."""

from timetrial.cli.main import main

__all__ = ["main"]
