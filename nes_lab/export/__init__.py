"""Write models to files and read them back.

Each file or folder is first written under a temporary name and renamed at the end. After an error the temporary one is deleted.

Saved models, each a folder with JSON and safetensors:
``pretrained``: save a model to a folder and load it (``save_pretrained``, ``from_pretrained``).
``saved_config``: read and check ``config.json`` of a saved model.
``describe``: make the content of ``config.json`` of a saved model.
``packed``: store tensors in smaller types, and read them back.
``file_size``: predict how many bytes a saved model takes on disk.
``outline``: describe the modules of a model and the arguments of its epitome layers.
``backbone_stamp``: say by which name and arguments the backbone of a model is created again.
``plain_attributes``: list the plain attributes of a model's modules, and compare two such lists.
``hooks``: name the hooks of a network that may change its outputs.
``loadable``: check, before a model is saved, that its folder will be loaded as the same model.
``tensors``: collect the tensors of a model for saving, and put saved tensors back into a model.
``rebuild``: rebuild the modules of a saved model from its configuration and the dense network.
``hugging_face``: let Hugging Face's transformers save and load compressed networks by its own functions.
``hub_upload``: upload a saved model to the Hugging Face Hub.
``hub_download``: download a saved model from the Hugging Face Hub.

Files for other runtimes:
``session``: run an ONNX file in ONNX Runtime as if it were a network of PyTorch.
``onnx``: export a model as an ONNX file (``export_onnx``).
``torch_export``: export a model as a ``.pt2`` file of torch.export (``export_torch``).
``example``: hold the example input of an export, and change its batch size.
``outputs``: name the outputs of an ONNX file.
``graph``: copy a model for an export, with layers that every runtime can compute.
``flat_weight``: samples a weight from a flat epitome in an exported graph.
``gathers``: replace parts of an epitome layer by operations that every runtime has.
``trace``: prepare a model for tracing, run the tracer and explain its errors.
``parity``: compare the outputs of an exported file with PyTorch's, and time both.
``onnx_graph``: count the params and multiply-adds of an ONNX graph, and list operators that a version of ONNX lacks.
``report``: report what was written and how it was checked (``ExportReport``).

For saved models and for other runtimes:
``atomic_write``: write a file or folder that appears complete or not at all.
"""
