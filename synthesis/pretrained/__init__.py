"""Pretrained text-to-image models of diffusers, turned into multi-task backbones: why so is in docs/adr/0014."""
