"""The door camera's face detector: composed scenes, labels from a teacher, training, export and evaluation.

Run `python -m doorward_models.detector --help`. Owns everything that leads to `models/detector.onnx`.
"""
