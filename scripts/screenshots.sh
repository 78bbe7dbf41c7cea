#!/bin/sh
# Makes the pictures of the documentation anew, from the running app as its browser tests see it.
set -eu

shots=build/shots
rm -rf "$shots"
mkdir -p "$shots" docs/images
BROWSER_SHOTS="$PWD/$shots" BROWSER_SHOTS_HEIGHT=1500 .venv/bin/python -m pytest -q \
    tests/browser/test_story.py tests/browser/test_dashboard.py tests/browser/test_emulator.py
BROWSER_SHOTS="$PWD/$shots" BROWSER_SHOTS_HEIGHT=800 .venv/bin/python -m pytest -q \
    --ds=example_project.config.settings example_project/tests/test_browser.py -k "day or person"

while read -r shot picture; do
    cp "$shots/$shot.png" "docs/images/$picture.png"
done <<'PICTURES'
story-full-light delivery
dashboard-24h-light dashboard
emulator-full-light emulator
studio-day-light studio
studio-approval-light approval
PICTURES
