"""Data sets: checked before training, and served as batches that depend on seed, epoch and position only.

What every data set shares:

- ``registry``: data sets by name; how to add one.
- ``spec``: a loaded data set, and the protocol of its splits.
- ``sampling``: order of images, seeds of their augmentation, shares of several processes, limits.
- ``knobs``: options that say how examples are served.
- ``augment``: turn an image into the tensor that the network gets.

Data in memory:

- ``in_memory``: a split of images in one tensor.
- ``digits``: the digits of scikit-learn.
- ``torchvision_sets``: CIFAR-10, CIFAR-100 and Fashion-MNIST.
- ``audio_folder``: sounds in ESC-50's layout.
- ``audio_table``: the table of such a set, with classes and folds.
- ``wav``: read WAV files.

Images in files and archives:

- ``items``: where one image lies, in a file or an archive.
- ``images``: read an image as RGB, and say what is wrong with it.
- ``file_split``: a split of images that are decoded when they are needed.
- ``tree_dataset``: check listed files and make the two splits.
- ``image_folder``: one folder per class.
- ``image_shards``: tar archives.
- ``imagenet``: ImageNet and Imagenette.

Before training:

- ``check``: check a data set and report what is wrong.
- ``examples``: read a few examples of every class, to draw them.
"""
