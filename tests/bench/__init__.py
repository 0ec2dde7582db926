"""Guards what an event and a request cost, without a clock: work is counted, see `counting`."""
