"""Dense networks by name: ours, which are small, and all of timm's.

``registry``: make a backbone by name, or register one; ``nes_lab.create_backbone`` is here.
``small``: a small MobileNetV2 for small images.
``cifar_resnet``: the ResNets for 32-pixel images.
``m5``: a convolutional network for raw sound.
``weights``: load the weights of a backbone from a safetensors file.
``families``: the smallest model of every timm family, for the zoo.
"""
