"""What we read: samples, what they mean, grid intensity, PUE, ownership."""
