"""Build the site: guides, executed notebooks and the reference of all public names, as static pages.

- ``build``: gather the pages and run Sphinx.
- ``executed``: run the notebooks, and keep their outputs.
- ``figures``: turn the plotly figures of executed notebooks into HTML.
- ``links``: give links in the guides their places in the site.
- ``math``: write formulas as MathML, which browsers draw without JavaScript.
- ``reference``: write one page per public name.
"""
