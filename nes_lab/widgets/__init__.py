"""Widgets for notebooks, built on the figures.

``start_explorer``: a slider for a starting index, the patch it reads and the patch's gradient.
"""
