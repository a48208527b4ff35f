"""Presets: complete sessions of known games, formats and exercises, as data files in the folders of this package.

`catalogue.py` reads the files, and `expand.py` makes the body of a creation of a preset and the members of a request.
"""
