"""Simulated pictures as DICOM objects with the habits of makers."""
