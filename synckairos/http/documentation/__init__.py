"""The pages under `/docs`: the Markdown files of the folder `docs` as HTML, with a navigation and a search index."""
