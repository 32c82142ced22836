"""Provide epitome layers as torch modules, with the arguments of torch's layers.

``layer``: the base class of all epitome layers: epitome, starts, execution, sampled weight.
``linear``: the linear layer.
``conv``: the convolutions in one, two and three dimensions.
``same``: convolutions with TensorFlow's ``SAME`` padding.
``std_conv``: weight-standardized convolutions.
``registry``: lists all kinds of layers by name, and makes an epitome layer in place of a dense one.
``kinds``: decides which dense layers an epitome layer can replace, and says why it cannot replace others.
``dense``: exchanges weights with a plain torch layer, in both directions.
``init``: computes initial epitomes: random, copied from a weight, or fitted to it.
``starts``: modules that hold starting indices: a fixed rule, parameters, or a frozen table.
``index_learner``: predicts starting indices from the layer's input.
``all_reduce``: sums a tensor over all ranks, with gradients.
``inspect``: lists the epitome layers of a model, and copies their epitomes and starts.
"""
