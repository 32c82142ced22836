"""Measure what shrinking each layer costs, and take the cheapest steps first.

``measure``: measure all layers of a model (:func:`nes_lab.measure_sensitivity`).
``one_layer``: measure one epitome size in one layer.
``calibration_loss``: compute the loss on calibration data, with one weight replaced at a time.
``cache``: save measurements as they are made, and resume interrupted ones.
``order``: order shrink steps by loss per saving.
"""
