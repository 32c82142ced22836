"""From the weights of a trained network to epitomes that sample weights close to them.

``fit``: compress a pretrained model and fit every layer; this is ``nes_lab.fit``.
``search``: choose the starts of one weight, in turn with its epitome.
``start_search``: the best start of every patch along one axis, under separable scope.
``joint_start_search``: the best start of every patch, under joint scope.
``row_clusters``: clusters of similar channels, the first guess of the search where patches are one channel long.
``input_moments``: mean and covariance of the inputs of each layer, over calibration batches.
``calibration_batches``: read the inputs in a data loader or a list of batches.
``norm_statistics``: measure the statistics of batch norms again, on given batches.
``row_scales``: move the factors of a layer's output channels into the batch norm after it.
"""
