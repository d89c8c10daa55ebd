"""Server-rendered pages for people. Loaded only if `UBR_PAGES` is not `off`.

- `page.py` is what a controller of pages uses: show a template, read a form, redirect with a notice.
- `rendering.py` has the templates and `words/` the texts, a file for each language. Jinja2 is loaded with the first
  page.
- `static/` has the stylesheet and the script. Their paths contain a hash, so that browsers keep them.
- `routes/` has the controllers, by theme, and `controllers.py` lists them.

A new page takes a controller, a template that extends `layout.html` or `account.html`, and its words in every language.
"""
