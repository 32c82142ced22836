"""Show interactive widgets in notebooks.

- ``start_explorer``: show a slider for a start, the patch that is read from an epitome there, and the patch's gradient.
"""
