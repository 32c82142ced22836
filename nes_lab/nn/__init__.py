"""Epitome layers as plain torch modules.

``layer``: what all epitome layers share: epitome, starts, execution, sampled weight.
``conv``, ``linear``, ``same``, ``std_conv``: one file per kind of layer.
``registry``: all kinds by name, and the making of a layer in place of a dense one.
``kinds``: which dense layers an epitome layer can replace, and why others not.
``dense``: exchange weights with a plain torch layer, in both directions.
``init``: initial epitomes: random, copied from a weight, or fitted to it.
``starts``: modules that hold starting indices: a fixed rule, parameters, or a frozen table.
``index_learner``: predict starting indices from the layer's input.
``all_reduce``: sum a tensor over all ranks, with gradients.
``inspect``: list the epitome layers of a model, and copy their epitomes and starts.
"""
