"""Parts of benchmarks/speed.py.

- ``settings``: options of a run, and the jobs it consists of.
- ``networks``, ``optimized``, ``training``, ``starts``, ``layers``, ``audio``, ``expansion``, ``gpu``: the jobs, by what they
  measure.
- ``floors``: the least time that an execution plan can take.
- ``timing``: time several calls in turns.
- ``record``: the result file.
- ``targets``: the targets, and the keys that rows use for them.
- ``page``, ``in_short``, ``tables``, ``words``: the page docs/speed.md, its tables and its sentences.
"""
