"""Make backbones (dense networks that can be compressed) by name: our own, which are small, and all models of timm.

- ``registry``: make a backbone by name, or register one; ``nes_lab.create_backbone`` is here.
- ``imported``: make a backbone with a function of the user's own, named as ``package.module:function``.
- ``small``: define a small MobileNetV2 for small images.
- ``cifar_resnet``: define the ResNets for 32-pixel images.
- ``stage_widths``: decide how many channels each stage of a small network has.
- ``m5``: define M5, a convolutional network for raw sound.
- ``preprocessing``: say how images were prepared for the weights of a network.
- ``class_names``: keep the names of the classes that a network was trained with.
- ``weights``: load the weights of a backbone from a safetensors file.
- ``families``: list the smallest model of every timm family (a module of timm with related models).
"""
