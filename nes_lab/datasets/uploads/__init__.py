"""Take a zip file of class folders that a user uploads, and keep it as a data set. Nothing in the file is trusted.

Uploads lie in ``$NES_LAB_HOME/uploads``, or ``data/uploads`` if that variable is not set. Each is a folder ``<id>/{train,val}/<class>/*``.

- ``limits``: limit the size, the number of files and the pixels of an upload.
- ``zip_listing``: list the images of a zip file, and refuse a file that is hostile or damaged.
- ``arrange``: find the class folders among the listed images, and split them into training and validation.
- ``unpack``: unpack the images into a new folder, in one step.
- ``stored``: list the uploads on this computer, and delete one.
"""
