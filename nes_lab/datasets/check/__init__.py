"""Check a data set before training: which one it is, what it holds, and what is wrong with it.

- ``check``: ``check_data``, from a folder or a name to a report.
- ``layouts``: recognize which data set a folder holds.
- ``listing``: list files without decoding them; the listings are also what the loaders read.
- ``decode``: decode the files of a split and measure sizes, modes and statistics.
- ``report``: the result, as plain numbers and sentences.
"""
