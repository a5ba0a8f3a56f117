"""Every route below /admin."""

from __future__ import annotations

from study_server.admin import sign_in_routes, studies_routes, study_routes

routes = [*sign_in_routes.router.routes, *studies_routes.router.routes, *study_routes.router.routes]
