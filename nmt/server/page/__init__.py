"""The page in the browser: its files; scripts and styles of the report page are shared with it."""
