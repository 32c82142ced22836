"""Check that a backbone can be planned, compressed, trained, materialized, saved and loaded.

- ``check``: take one backbone through all stages; ``nes_lab.check_backbone`` is here.
- ``result``: hold the result of one backbone, which is one row of the zoo's table.
- ``random_weights``: draw weights with which a network's output depends on its input, so that outputs can be compared.
"""
