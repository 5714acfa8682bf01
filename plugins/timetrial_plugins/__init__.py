"""The built-in plugins: models, engine, tasks, grading, aggregators, reward models and the nutshell."""
