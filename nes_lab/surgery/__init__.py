"""Copy a model with some of its layers changed.

``replace``: replaces dense layers by epitome layers (``compress``), and epitome layers by dense layers (``materialize``).
``carry_over``: gives the layer that takes another one's place what users added to that: flags, hooks, buffers, attributes.
``verify``: compares, by one run, what a compressed network does with what its plan says.
``counted_run``: runs a network once, and notes the counts and the calls of some of its layers.
``planned_input``: makes, from a plan, an input that a network can run.
``fuse``: folds batch norms into the layers before them, for inference.
``for_inference``: copies a model that keeps its sampled weights from one call to the next.
``transformers_mark``: marks compressed networks of transformers, so that its own ``save_pretrained`` saves what it can load.
``fold_check``: compares a network with its copy in which norms are folded, and finds norms that must not be folded.
``foldable_norms``: finds the batch norms that can be folded, by tracing the model's forward method.
"""
