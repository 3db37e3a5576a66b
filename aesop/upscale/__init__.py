"""Upscaling of photographs and folders: `aesop upscale INPUT`. The network is found by its weights.

`networks.py` tells the network, `photo.py` reads and writes images with all that belongs to them, `folder.py` runs both
and the network side by side.
"""
