"""Fit epitomes to the weights of a trained network, so that the weights sampled from them are close to the trained ones.

``fit``: compress a pretrained model and fit every layer; this is ``nes_lab.fit``.
``search``: choose the starts of one weight and fit its epitome, alternately.
``start_search``: find the best start of every patch along one axis, for layers of separable scope.
``joint_start_search``: find the best starts of every patch along both channel axes, for layers of joint scope.
``row_clusters``: cluster similar channels, as the first guess of the search where patches are one channel long.
``input_moments``: measure the mean and covariance of the inputs of each layer over calibration batches.
``calibration_batches``: read model inputs from a data loader or a list of batches.
``norm_statistics``: measure the statistics of batch norms again, on given batches.
``row_scales``: move the factors of a layer's output channels into the batch norm after it.
"""
