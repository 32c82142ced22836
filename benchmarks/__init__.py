"""One script per claim; what they measured is in results/, written by the scripts only."""
