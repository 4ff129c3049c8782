"""From solids to stored pixels: geometry, background, movement, detector, export."""
