"""Contrast medium on its way: from the catheter through arteries and tissue to the veins."""
