"""Models out of and into files: folders of JSON and safetensors, ONNX, torch.export; each verified before it has its name."""
