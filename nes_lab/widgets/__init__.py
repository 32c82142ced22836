"""Show interactive widgets in notebooks, built on the figures.

- ``start_explorer``: show a slider for a starting index, the patch that is read there and the patch's gradient.
"""
