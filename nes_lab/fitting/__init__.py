"""Fit epitomes to the weights of a trained network. The sampled weights are then close to the trained ones.

``fit``: compress a pretrained model and fit every layer; this is ``nes_lab.fit``.
``one_layer``: fit the epitome of one layer, and correct the mean of its output.
``search``: for one weight, choose the starts (positions where patches begin in the epitome) and fit the epitome, alternately.
``search_state``: the state of such a search: the weight, the starts, the epitome and the factors of the output channels.
``start_search``: find the best start of every patch along one axis, for layers with starts per axis (scope ``separable``).
``joint_start_search``: find the best starts of every patch along both channel axes, for layers with starts per patch (``joint``).
``row_clusters``: group similar channels, as the first guess of the search where patches are one channel long.
``flat_epitomes``: fits flat epitomes, each to all layers that read it.
``flat_start_search``: search the starts of windows in a flat epitome, and fit its cells and factors, in turn.
``input_moments``: measure the mean and covariance of the inputs of each layer over calibration batches.
``sequential_moments``: for a fit layer after layer, measure the inputs in the compressed network and the outputs in the dense one.
``calibration_batches``: read model inputs from a data loader or a list of batches.
``norm_statistics``: measure the running mean and variance of batch norms again, on given batches.
``agreement``: compare the outputs of the fitted network with those of the dense network.
``row_scales``: move a factor for each output channel of a layer into the batch norm after the layer.
"""
