"""The nouns that every room shares; this package imports none of the other rooms."""
