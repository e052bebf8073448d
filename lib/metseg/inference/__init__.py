"""An exported network: image in, probability map and mask out; without TensorFlow."""
