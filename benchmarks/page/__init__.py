"""The results page: every result of a folder of benchmarks, to be sorted, filtered, drawn and traced to its making."""
