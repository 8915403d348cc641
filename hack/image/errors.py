"""What can go wrong when an image is built."""


class ImageError(Exception):
    """No image; the message says why and what to do."""
