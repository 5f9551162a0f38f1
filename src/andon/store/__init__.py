"""Everything that outlives the process: tables, migrations, the group-commit writer, files.

`database` opens a database (SQLite by default, PostgreSQL by URL) and brings its schema up
to date; the repositories (`models`, `predictions`, `jobs`, …) hold the queries of one table
each; `writer` makes durable writes cheap; `model_files` and `pictures` keep files by content.
"""
