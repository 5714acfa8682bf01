"""The built-in tasks: MATH-500, GSM8K-500 and the nutshell."""
