"""The texts of a bundle that people and other programs read: model card and MONAI's metadata."""
