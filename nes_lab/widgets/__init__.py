"""Show interactive widgets in notebooks.

- ``start_explorer``: move a slider along an epitome, and see the patch that begins there and its gradient.
"""
