"""What is measured, and how; `README.md` explains. Nothing here asserts a time."""
