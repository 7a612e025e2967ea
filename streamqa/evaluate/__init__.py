"""Measures how often answers are true, through the product's own path."""
