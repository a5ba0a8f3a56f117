"""Every route below /api/v1."""

from __future__ import annotations

from study_server.api import export_routes, link_routes, pair_routes, people_routes, study_routes

ROUTERS = (study_routes, people_routes, pair_routes, link_routes, export_routes)
routes = [route for module in ROUTERS for route in module.router.routes]
