"""The kinds of stories. Each writer fills a draft with exactly `draft.num_steps` solution steps."""

from timetrial_plugins.nutshell.stories.bill import write_bill
from timetrial_plugins.nutshell.stories.chain import write_chain
from timetrial_plugins.nutshell.stories.comparison import write_comparison

WRITERS = (write_chain, write_chain, write_comparison, write_bill)
"""A story is by one of these, each entry as likely; chains come in six settings, so they count twice."""
