"""ubr in web frameworks: `ubr.contrib.fastapi`, `.starlette`, `.litestar` and `.django`.

Each module imports its framework, and nothing else in ubr does. `ubr.contrib.auth` has the parts that they share: a
`Source` says where users come from, the library in this process (`Library`) or the tokens of another one (`Tokens`).
"""
