"""The emulator's own page: jobs, events and every try, live, with buttons."""
