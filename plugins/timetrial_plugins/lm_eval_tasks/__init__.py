"""Tasks of lm-eval as tasks of timetrial, tasks of timetrial as tasks of lm-eval, and both graders side by side."""
