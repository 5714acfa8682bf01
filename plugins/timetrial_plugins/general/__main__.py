"""`python -m timetrial_plugins.general`: lm-eval's command, with `--model timetrial` known."""

from timetrial_plugins.general.registration import main

main()
