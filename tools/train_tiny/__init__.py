"""Training of the tiny models from nothing: `python -m tools.train_tiny --help`.

data       pictures, latents and token ids of random scenes
coupling   noise that knows the nuisances of its picture
optimiser  Muon for matrices, AdamW for the rest, averaged weights
words      the two small tokenizers
vae, flux, sdxl, clip   one model each: build, train, save
session    checkpoints, progress log, provenance
"""
