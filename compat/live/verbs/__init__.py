"""What the command line of the live engine is made of."""
