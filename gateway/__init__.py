"""Triglot: one streaming endpoint, three dialects."""
