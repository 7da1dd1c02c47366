"""Measured claims: each work of the house beside an alternative that does the same, in the same run. `make bench`."""
