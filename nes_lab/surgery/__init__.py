"""Change the layers of a model.

``replace``: dense layers to epitome layers by a compression plan (``compress``), and back (``materialize``).
``fuse``: fold batch norms into the layers before them, for inference.
``foldable_norms``: which batch norms can be folded, read off the traced forward.
"""
