"""Models out of and into files. A file or folder gets its name only after it was checked; otherwise nothing is left behind.

Saved models, a folder of JSON and safetensors:
``pretrained``: ``save_pretrained`` and ``from_pretrained``.
``saved_config``: read and check ``config.json``.
``outline``: describe the modules of a model and the arguments of its epitome layers.
``tensors``: collect the tensors of a model, each once, and put them back.
``rebuild``: make a saved network again from its configuration and the dense network.
``hub_upload``, ``hub_download``: send a saved model to the Hugging Face Hub, and get one from there.

Files for other runtimes:
``onnx``: ``export_onnx``.
``torch_export``: ``export_torch``.
``example``: the example input of an export.
``graph``: prepare a model for tracing.
``gathers``: the parts of an epitome layer as operations that every runtime has.
``trace``: what both exporters do before and around tracing.
``parity``: compare a file with PyTorch, and time both.
``onnx_graph``: params, multiply-adds and operators of an ONNX graph.
``report``: ``ExportReport``, what was written and how it was checked.

Both:
``atomic_write``: write a file or folder that appears complete or not at all.
"""
