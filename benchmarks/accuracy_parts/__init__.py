"""Parts of ``benchmarks/accuracy.py``, which compares the accuracy of networks of equal cost.

``study``: read a study from its YAML file, and list its trainings in order.
``data``: load CIFAR-10 and ESC-10 from a shared folder, with training images held out.
``narrow``: choose the channels of the narrower network that just meets a budget.
``int8``: make networks with weights in int8.
``generated``: make networks with weights generated from random bases.
``lowrank``: make networks with split convolutions of low rank.
``train``: train one network of a study, and return its row.
``rows``: keep the rows in a file, one JSON object per line.
``cells``: gather rows in cells, one contender at one budget each, and compare them seed by seed.
``titles``: name networks, contenders and differences in words.
``learning_rates``: say which learning rates were chosen at an end of their list.
``goals``: compare the rows with the goals of the project.
``verdicts``: say which network to use when, from the rows.
``page``: write docs/evidence.md from the rows.
``figure``: draw accuracy against cost.
``advice_rows``: write the rows that plans quote as advice.
"""
