"""Puts this folder on the path, so that tests import `doorward_models` without installing it."""
