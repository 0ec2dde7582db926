"""Triglot: one streaming endpoint, four dialects of three vendors."""
