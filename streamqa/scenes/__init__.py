"""A small synthetic world: a gate, a lamp, a road and whoever passes, rendered with a known truth."""
