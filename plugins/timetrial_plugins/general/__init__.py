"""lm-eval over timetrial's models: general benchmarks on the engines that the reasoning tasks run on."""
