"""Measure how much quality a model loses when one of its layers shrinks. The layers with the least loss can then shrink first.

The quality is measured by the model's loss on calibration data. Without such data, it is measured by the error of the weight
that is sampled from the layer's epitome, relative to the dense weight.

``measure``: measure all layers of a model (:func:`nes_lab.measure_sensitivity`).
``one_layer``: measure one epitome size in one layer.
``calibration_loss``: compute the loss on calibration data, with one weight replaced at a time.
``cache``: save the results layer by layer, so that an interrupted measurement can be resumed.
``order``: order the shrink steps of all layers by the harm they do per saved param or multiply-add.
"""
