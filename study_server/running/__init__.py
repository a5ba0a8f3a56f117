"""Runs the server: settings of a command line, a listening socket, uvicorn, several workers."""
