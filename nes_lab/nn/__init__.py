"""Provide epitome layers as torch modules, with the arguments of torch's layers.

``layer``: the base class of all epitome layers: it holds epitome and starts, and samples the weight.
``layer_forward``: how an epitome layer computes its output, and what it keeps from one call to the next.
``linear``: the linear layer.
``conv``: the convolutions in one, two and three dimensions.
``same``: convolutions with TensorFlow's ``SAME`` padding.
``std_conv``: weight-standardized convolutions: each output channel's weights are shifted and scaled to mean 0 and variance 1.
``registry``: lists all kinds of layers by name, and makes an epitome layer in place of a dense one.
``kinds``: decides which dense layers an epitome layer can replace, and says why it cannot replace others.
``model_checks``: refuses networks that cannot be looked into, or whose copies would run the layers of the original.
``copy_network``: copies a user's network with everything in it; what cannot be copied is named.
``own_attributes``: lists the attributes that a layer has by itself, to tell them from those that users added.
``dense``: copies weights between an epitome layer and a plain torch layer, in both directions.
``reparameterize``: recognizes modules that fold their branches after training (RepVGG, MobileOne), which must come before.
``bake``: bakes pruning masks, weight norms and parametrizations of epitome layers into plain tensors.
``larger_epitome``: warns if an epitome holds more numbers than the weight that is sampled from it.
``int8_cells``: round the cells of an epitome to integers of 8 bits.
``init``: computes initial epitomes: random, copied from a dense weight, or fitted to it.
``flat_epitome``: gives random or fitted values to flat epitomes, which layers can share, and to the factors of their windows.
``flat_fit``: fits one flat epitome to the dense weights of all layers that read it.
``sampled_weight``: the tensor that a layer returns as its weight; it refuses changes in place.
``starts``: the base class of the modules that hold a layer's starts (starting indices).
``fixed_starts``: holds starts that a rule sets, and makes the starts of a new layer.
``frozen_starts``: holds starts that training no longer changes.
``reading_record``: stores in a state dict how a layer reads its epitome, and refuses tensors of a layer that reads differently.
``tied_parameters``: keeps parameters shared that layers share, also where torch makes new ones, as in ``to_empty()``.
``free_starts``: holds starts as parameters that training learns: as distances from fixed positions.
``index_learner``: predicts the starts from the layer's input with a small network.
``predict_step``: predicts the starts of one training step with few calls, on a CPU.
``compiled_step``: computes a training step with learned starts in compiled code on a CPU, as one custom operator.
``compiled_facts``: describes a layer to such operators by a list of numbers.
``store_starts``: stores the starts that an index learner predicts, also inside transforms of ``torch.func``.
``all_reduce``: sums a tensor over all ranks of distributed training, with gradients.
``graph_call``: makes the layers work in the tracers of torch.fx and torch.jit.
``inspect``: lists the epitome layers of a model, and copies their epitomes and starts.
"""
