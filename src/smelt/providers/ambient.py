"""The credentials that a machine has for a cloud, and the project or region that they name, without a key of ours."""

from __future__ import annotations

import os
from collections.abc import Mapping

from smelt.providers.credentials import Credentials
from smelt.providers.vendor import Vendor


def of_this_machine(vendor: Vendor, url: str, environ: Mapping[str, str]) -> Credentials | None:
    """The credentials of this machine for *vendor* at *url*, not loaded yet; None for a vendor that takes only keys."""
    match vendor.auth:
        case "adc":
            from smelt.providers.adc import ApplicationDefault

            return ApplicationDefault(account=url, extra=vendor.extra)
        case "sigv4":
            from smelt.providers.sigv4 import SigV4, region_in

            profile = environ.get("AWS_PROFILE", "") or "default"
            region = region_in(url) or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
            return SigV4(account=f"{url} {profile}", region=region, service=vendor.service, extra=vendor.extra)
    return None


def found_places(vendor: Vendor, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Variables for the places of *vendor* that no variable in *environ* fills, from the cloud's own configuration.

    A project may be named by Google's credentials file, and a region by a profile of AWS.
    """
    place = {"adc": "project", "sigv4": "region"}.get(vendor.auth, "")
    variables = vendor.places.get(place, ())
    if not variables or any(environ.get(one, "").strip() for one in variables):
        return {}
    if vendor.auth == "adc":
        from smelt.providers.adc import project

        found = project(environ)
    else:
        from smelt.providers.sigv4 import region

        found = region(vendor.extra) if environ is os.environ else None  # botocore reads no other variables.
    return {variables[0]: found} if found else {}
