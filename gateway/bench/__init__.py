"""`triglot bench`: what this gateway costs on this machine.

Three processes: the load (the command itself), the gateway as `triglot serve` runs it, and an upstream that speaks
through our own encoders. What the same load costs without the gateway, the direct line, is measured beside it.
"""
