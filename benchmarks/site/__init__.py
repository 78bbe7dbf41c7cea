"""The site that the benchmarks of requests run: ours, and what people would write instead."""
