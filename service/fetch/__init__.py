"""Models come from where they are stored: whole, verified, and only what has changed.

address.py   a URL, and what may be shown of it
store.py     what lies there, and reading a piece of it, through fsspec
web.py       what fsspec lacks where the store is a web server
local.py     what it lacks where the store is a folder
failures.py  whose fault a library's error is, and whether to try again
transfer.py  many pieces at a time, written in order; goes on where it was
sums.py      what the SHA256SUMS beside the objects say
folder.py    what was fetched and lies there unchanged; parts; one at a time
publish.py   what is complete appears, a new folder all at once
run.py       all of that, in its order
"""
