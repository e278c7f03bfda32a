"""From a DataFrame to batches of tensors: packing, manifest, plan, loader."""
