"""The live engine measured: speed on a large gallery, and what faults do to it."""
