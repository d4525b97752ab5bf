"""The code that makes the shipped models; `python -m doorward_models --help` lists the commands."""
