"""Backbones by name: our small ones, and timm's."""
