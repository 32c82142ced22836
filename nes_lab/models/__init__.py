"""Ready-made compressed models by name, and whole jobs over them that end in a folder or a file."""
