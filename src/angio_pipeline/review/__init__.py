"""The radiologist's review page over what `angio run` wrote: its server and everything behind it but the page itself.

It reads written results, shows them, and keeps what readers say of them; it measures nothing.
"""
