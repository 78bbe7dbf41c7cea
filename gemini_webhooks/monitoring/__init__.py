"""What tells machines how the app is: health, backlog, and figures for Prometheus.

Nothing of it is reachable unless the site includes its URLs.
"""
