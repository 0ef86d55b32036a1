"""The command line: files in, files out, and the estimators between them.

What stands in `app`, `command`, `options` and `errors` imports nothing heavy, so that
help is there at once. Each command imports the module that does its work.
"""
