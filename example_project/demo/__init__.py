"""The demonstration: one run of the main job, watched and checked.

``environment`` gives the run folders, ports, database and queue of its own; ``processes`` starts
the emulator, the site and a worker; ``jobs`` does what a site does with the official clients;
``facts`` reads what happened; ``screen`` shows it; ``checks`` compares it with what must be.
"""
