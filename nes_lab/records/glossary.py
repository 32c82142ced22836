"""Explain the words of NES Lab in one sentence each, for the app and the documentation.

Tests: tests/records/test_glossary.py.
"""

from __future__ import annotations

__all__ = ["GLOSSARY"]

GLOSSARY: dict[str, str] = {
    "Epitome": "The small tensor that is stored and trained. The large weight of a layer is read from it.",
    "Patch": "A block of the weight that is read from the epitome in one piece.",
    "Starting index": "The position in the epitome where a patch begins, in cells. It may lie between two cells, and it can be learned.",
    "Routing": "The way that sets the starting indices: tiled (a fixed grid), stride and random (fixed too), free (each one is "
    "learned) or learner (a small network computes them).",
    "MAdds": "Multiply-adds: the multiplications, each with its addition, that one input needs in a forward pass.",
    "Params": "Parameters: the numbers of a network that are stored and trained.",
    "Stored bytes": "The bytes of the tensors in the file of a saved network. Its whole folder, with names and description, is a little "
    "larger.",
    "Budget": "The most parameters, multiply-adds or bytes that a network may have. NES Lab chooses epitome sizes that fit it.",
    "Plan": "The list of all layers with the size of each epitome, made from a budget before any training.",
}
"""Each word of NES Lab -> one or two sentences that explain it."""
