"""Load data sets, check them before training, and serve them in batches.

Used by every data set:

- ``registry``: look up data sets by name. It also says how to add one.
- ``spec``: define a loaded data set and its splits.
- ``contents``: identify the examples of a split, so that exchanged data is seen.
- ``sampling``: choose the order of examples, seed their augmentation, divide batches among processes, limit the number of examples.
- ``seeded``: give each example a seed of its own.
- ``class_order``: order the classes, which are numbered by it.
- ``knobs``: define the options for augmenting, resizing and limiting examples.
- ``augment``: turn an image into the tensor that the network gets.

Your own data:

- ``as_dataset``: make a data set from torch's data sets or loaders.
- ``imported``: load a data set by calling a function of the user's own, named as ``package.module:function``.
- ``map_style``: serve a split from a data set that returns an (input, target) pair for each position.
- ``loader_split``: the base of splits that torch's data loader reads, with a seed for each example.
- ``loaders``: serve a split from a data loader.

Data in memory:

- ``in_memory``: serve images that are held in memory.
- ``digits``: load the handwritten digits of scikit-learn.
- ``torchvision_sets``: load CIFAR-10, CIFAR-100 and Fashion-MNIST.
- ``audio_folder``: load sounds in ESC-50's layout.
- ``audio_table``: read the table that lists the sounds of a data set.
- ``wav``: read WAV files.

Images in files and archives:

- ``items``: describe where an image lies, in a file or an archive.
- ``images``: read an image file as RGB, and find unreadable image files.
- ``file_split``: serve a split whose images are decoded when they are needed.
- ``tree_dataset``: make a data set from listed image files.
- ``image_folder``: load images from one folder per class.
- ``image_shards``: load images from tar archives.
- ``imagenet``: load ImageNet and Imagenette.
- ``write_image_folder``: write a data set in memory as an ImageNet-style folder.

Before training:

- ``check``: check a data set and report what is wrong.
- ``uploads``: take a zip file of class folders from the app, and keep it as a data set.
- ``examples``: read a few examples of every class, to show them in a figure.
"""
