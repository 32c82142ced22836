"""The run directory: who writes it, who reads it, and what its states mean. Torch-free."""
