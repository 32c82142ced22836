"""Measure how much each layer loses when it shrinks. The layers that lose least can then shrink first.

``measure``: measure all layers of a model (:func:`nes_lab.measure_sensitivity`).
``one_layer``: measure one epitome size in one layer.
``calibration_loss``: compute the loss on calibration data, with one weight replaced at a time.
``cache``: save the results layer by layer, so that an interrupted measurement can be resumed.
``order``: order the shrink steps of all layers by the loss they add per saved param or multiply-add.
"""
