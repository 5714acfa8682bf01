"""The report of a run: figures, tables, one self-contained page, and the leaderboard over several runs."""
