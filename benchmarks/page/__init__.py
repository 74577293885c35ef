"""The results page: every result of a folder of benchmarks, to sort, filter, plot and trace to its origin."""
