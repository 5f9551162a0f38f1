"""The dashboard: server-rendered pages over the same platform the API serves.

`pages.router` has the routes, `contexts` says what each template receives, the modules named
like a page (`overview`, `inspection`, `versions`) read the platform into those contexts, and
`static/` holds the style sheets and ES modules that a browser gets as they are.
"""
