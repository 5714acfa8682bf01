"""`timetrial doctor`: what this machine has, which kernels that makes possible, and what is broken."""
