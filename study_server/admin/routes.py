"""Every route below /admin."""

from __future__ import annotations

from study_server.admin import (
    export_routes,
    pair_routes,
    people_routes,
    settings_routes,
    sign_in_routes,
    studies_routes,
    study_routes,
    webhook_routes,
)

ROUTERS = (
    sign_in_routes,
    studies_routes,
    study_routes,
    people_routes,
    pair_routes,
    export_routes,
    settings_routes,
    webhook_routes,
)
routes = [route for module in ROUTERS for route in module.router.routes]
