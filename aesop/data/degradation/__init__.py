"""The degradation of Real-ESRGAN, on the device."""
