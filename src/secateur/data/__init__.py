"""Annotation and image formats, augmentation and procedural pictures."""
