"""The project's site: the pages of docs, and what can be shown of models and records.

    python -m website build/site

writes static files that work from a disk and from a static Space of the Hub. `build` puts the
pages together and has MkDocs make the site; every other module makes one kind of page, as a
dictionary of the files that it takes, by their paths in the site.
"""
