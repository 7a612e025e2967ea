"""Benchmarks: every figure that the README claims can be measured again with `streamqa bench`."""
