"""Check that a backbone can be planned, compressed, trained, materialized, saved and loaded.

- ``check``: take one backbone through all stages; ``nes_lab.check_backbone`` is here.
- ``result``: hold the result of checking one backbone, which is one row of the table of all checked backbones.
- ``random_weights``: draw random weights with which a network's output depends on its input, so that comparing outputs reveals errors.
"""
