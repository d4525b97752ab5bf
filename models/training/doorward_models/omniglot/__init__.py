"""One-shot learning of handwritten characters: where the losses are compared on equal terms.

Owns its data, network, training and scoring. Nothing of it is shipped.
"""
