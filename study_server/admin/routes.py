"""Every route below /admin."""

from __future__ import annotations

from study_server.admin import people_routes, sign_in_routes, studies_routes, study_routes

ROUTERS = (sign_in_routes, studies_routes, study_routes, people_routes)
routes = [route for module in ROUTERS for route in module.router.routes]
