"""Check a data set before training: recognize it, measure what it holds, and report what is wrong with it.

- ``check``: check a data set by folder or name and return a report; ``nes_lab.check_data`` is here.
- ``layouts``: recognize which data set a folder holds.
- ``listing``: list the files of a data set without decoding them, for a check or for loading.
- ``ready``: say within a moment whether a training could begin with a data set, without reading an image.
- ``local``: list the data sets that are on this computer already.
- ``decode``: decode the files of a split and measure sizes, modes and statistics.
- ``report``: hold the result of a check: counts, statistics, and sentences about problems.
"""
