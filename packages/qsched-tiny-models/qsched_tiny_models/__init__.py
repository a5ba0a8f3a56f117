"""Weights of qsched's tiny models, in the folder `weights`; `qsched.tiny.model_path` finds them."""
