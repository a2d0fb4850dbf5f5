"""Benchmarks: programs, not tests. `make bench` runs them all and prints tables; results go to build/bench/."""
