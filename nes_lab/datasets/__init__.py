"""Load data sets: each is checked before training and served in batches that depend only on seed, epoch and position.

Used by every data set:

- ``registry``: look up data sets by name; how to add one.
- ``spec``: define a loaded data set and its splits.
- ``sampling``: choose the order of examples, seed their augmentation, share batches among processes, limit a data set.
- ``knobs``: define the options for augmenting, resizing and limiting examples.
- ``augment``: turn an image into the tensor that the network gets.

Data in memory:

- ``in_memory``: serve images that are held in memory.
- ``digits``: load the handwritten digits of scikit-learn.
- ``torchvision_sets``: load CIFAR-10, CIFAR-100 and Fashion-MNIST.
- ``audio_folder``: load sounds in ESC-50's layout.
- ``audio_table``: read the table of a data set of sounds, with classes and folds.
- ``wav``: read WAV files.

Images in files and archives:

- ``items``: describe where an image lies, in a file or an archive.
- ``images``: read an image as RGB, and say what is wrong with it.
- ``file_split``: serve a split of images that are decoded when they are needed.
- ``tree_dataset``: make a data set from listed image files.
- ``image_folder``: load images from one folder per class.
- ``image_shards``: load images from tar archives.
- ``imagenet``: load ImageNet and Imagenette.

Before training:

- ``check``: check a data set and report what is wrong.
- ``examples``: read a few examples of every class, to draw them.
"""
