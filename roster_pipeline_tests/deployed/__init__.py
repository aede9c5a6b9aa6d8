"""docs/operating.md, typed on an empty Debian machine that is made and booted for it."""
