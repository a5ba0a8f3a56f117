"""What the routes of every room use: the server's resources, bodies, limits, security, templates, words."""
