"""DIMSE and DICOMweb: finding, fetching and sending instances, and a station that others send to."""
