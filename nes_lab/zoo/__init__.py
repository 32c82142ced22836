"""Check that a backbone can be planned, compressed, trained, materialized, saved and loaded.

- ``check``: take one backbone through all stages; ``nes_lab.check_backbone`` is here.
- ``result``: hold the result of checking one backbone.
- ``random_weights``: draw random weights for checks that compare the outputs of networks.
"""
