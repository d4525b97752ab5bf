"""The presentation attack detector: does the aligned face belong to somebody, or to a picture of somebody?

Owns its data, network, training and measures; shares alignment, export and quantisation with the embedder.
"""
