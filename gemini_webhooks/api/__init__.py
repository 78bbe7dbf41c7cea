"""What the admin shows, for programs: lists, details, downloads, replays, over HTTP.

Nothing of it is reachable unless the site includes ``gemini_webhooks.api.urls``.
"""

try:
    import drf_spectacular as _drf_spectacular
    import rest_framework as _rest_framework
except ModuleNotFoundError as _error:
    raise ImportError(
        "gemini_webhooks.api needs Django REST framework and drf-spectacular: "
        "pip install 'django-gemini-webhooks[api]'"
    ) from _error

del _drf_spectacular, _rest_framework
