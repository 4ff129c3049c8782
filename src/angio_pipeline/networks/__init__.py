"""Networks: their shape, their weights, and prediction. With `training` the only torch.

`manifest` needs no torch; import the rest where it is used, as torch takes a second to import.
"""
