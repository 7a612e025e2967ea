"""Where frames come from, and how they reach the engine."""
