"""Networks: their shape, their weights, and prediction. With `training` the only torch.

Torch takes seconds to load: only `definition` and `torch_engine` import it, and where OpenVINO runs the networks
neither is loaded.
"""
