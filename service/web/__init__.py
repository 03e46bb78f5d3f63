"""HTTP: the FastAPI app, its routes and middleware, and the one table of status numbers."""
