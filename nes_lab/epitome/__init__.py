"""The epitome itself: geometry, starting indices and the sampler. Pure maths: no modules, no files."""
