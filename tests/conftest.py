"""What holds for every test."""

from hypothesis import settings

# How long an example takes depends on what else the machine does; timings are benches, never tests.
settings.register_profile("streamqa", deadline=None)
settings.load_profile("streamqa")
