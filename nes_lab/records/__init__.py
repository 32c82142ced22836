"""Room of the library."""
