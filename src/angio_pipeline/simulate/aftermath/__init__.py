"""After treatment: oil and its washout, necrosis, CT scans and films, and the truth of response."""
