"""Degradations: Real-ESRGAN's for batches on the device, and single steps for images on the CPU."""
